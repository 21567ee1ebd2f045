package scenario

import (
	"nlmmap/sys"
	"nlmmap/uapi"
)

var taskDirectives = []form{
	{
		syntax:  compile("fork CHILD"),
		help:    "a child process: copies of the descriptors and mappings",
		example: "fork child",
		quiet:   true,
		run:     fork,
	},
	{
		syntax:  compile("thread NAME"),
		help:    "a second thread: shares descriptors and memory, then sleeps",
		example: "thread t",
		serial:  true,
		run:     thread,
	},
	{
		syntax:  compile("exit"),
		help:    "the process exits",
		example: "exit in=child",
		run:     exit,
	},
	{
		syntax:  compile("cap drop|raise net_admin"),
		help:    "effective capability of the task",
		example: "cap drop net_admin",
		run:     capability,
	},
	{
		syntax:  compile("setuid N"),
		help:    "effective user id",
		example: "setuid 1000",
		run:     setuid,
	},
	{
		syntax:  compile("sleep ms=MS"),
		help:    "time passes",
		example: "sleep ms=100",
		serial:  true,
		run:     sleep,
	},
	{
		syntax:  compile("join JOB"),
		help:    "waits for a step that was begun with later, and prints what it gave",
		example: "join w",
		serial:  true,
		run:     join,
	},
	{
		syntax:  compile("names on|off"),
		help:    "from here on messages of netfilter, sock_diag and audit sockets print by name, with what their attributes say",
		example: "names on",
		serial:  true,
		run:     printNames,
	},
}

func fork(c *call) (string, error) {
	name := c.args.word(0)
	t, err := sys.Fork(c.task.Task, name)
	if err == nil {
		c.addTask(name, t, c.task.process.clone())
	}
	return ok(err)
}

func thread(c *call) (string, error) {
	name := c.args.word(0)
	t, err := sys.Thread(c.task.Task, name)
	if err == nil {
		c.addTask(name, t, c.task.process)
	}
	return ok(err)
}

// exit also ends the other threads of the process.
func exit(c *call) (string, error) {
	err := c.task.ExitGroup()
	if err == nil {
		for name, t := range c.tasks {
			if t.process == c.task.process {
				delete(c.tasks, name)
			}
		}
		c.task.live = nil
	}
	return ok(err)
}

func capability(c *call) (string, error) {
	return ok(c.task.SetCapability(uapi.CapNetAdmin, c.args.word(0) == "raise"))
}

func setuid(c *call) (string, error) {
	return ok(c.task.Seteuid(uint32(c.args.num(0))))
}

func printNames(c *call) (string, error) {
	c.print.named = c.args.word(0) == "on"
	return "ok", nil
}

func sleep(c *call) (string, error) {
	return ok(c.target.Sleep(int(c.args.get("ms", 0))))
}
