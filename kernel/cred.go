package kernel

// A Cred is the identity of a task, as it was when something was done: sockets and messages keep it. It is never
// changed; changing an identity makes a new one.
type Cred struct {
	UID, EUID, SUID uint32
	GID, EGID, SGID uint32
	permitted       uint64
	effective       uint64
	UserNS          *UserNS // nil is the initial one
}

const allCaps = 1<<38 - 1

// RootCred is root with all capabilities in the initial user namespace.
func RootCred() *Cred { return &Cred{permitted: allCaps, effective: allCaps} }

// A UserNS is a user namespace: ids [Inside, Inside+Count) in it are ids [Outside, Outside+Count) of the initial one.
type UserNS struct{ Inside, Outside, Count uint32 }

// Unmapped is how an id without a name in a namespace shows.
const Unmapped = 1<<32 - 1

// FromKID returns how the kernel's id shows in the namespace, Unmapped where it does not.
func (ns *UserNS) FromKID(id uint32) uint32 {
	if ns == nil {
		return id
	}
	if id < ns.Outside || id-ns.Outside >= ns.Count {
		return Unmapped
	}
	return id - ns.Outside + ns.Inside
}

// Capable reports whether c has a capability in the initial user namespace.
func (c *Cred) Capable(capability int) bool {
	return c.UserNS == nil && c.effective&(1<<capability) != 0
}

// Cred returns the task's present identity.
func (t *Task) Cred() *Cred { return t.cred }

// Capable reports whether the task has a capability in the initial user namespace.
func (t *Task) Capable(capability int) bool { return t.cred.Capable(capability) }

// NetCapable reports whether the task has a capability in the user namespace that owns the network namespace; all
// modelled network namespaces belong to the initial user namespace.
func (t *Task) NetCapable(_ *Net, capability int) bool { return t.cred.Capable(capability) }

// SetCapability raises or drops one effective capability: capset(2). EINVAL for a number that is
// no capability, EPERM when it is not permitted.
func (t *Task) SetCapability(capability int, raise bool) error {
	_, err := syscall(t, CapsetCall{capability}, func() (int, error) {
		if capability < 0 || capability > 63 {
			return 0, Errorf(EINVAL, "no capability %d", capability)
		}
		c := *t.cred
		if raise {
			if c.permitted&(1<<capability) == 0 {
				return 0, EPERM
			}
			c.effective |= 1 << capability
		} else {
			c.effective &^= 1 << capability
		}
		t.cred = &c
		return 0, nil
	})
	return err
}

// Seteuid sets the effective user id: setresuid(-1, uid, -1). Leaving user 0 clears the effective capabilities,
// coming back restores the permitted ones. EPERM when uid is none of the task's ids and CAP_SETUID is missing.
func (t *Task) Seteuid(uid uint32) error {
	_, err := syscall(t, SeteuidCall{uid}, func() (int, error) {
		c := *t.cred
		if uid != c.UID && uid != c.EUID && uid != c.SUID && !c.Capable(7) {
			return 0, EPERM
		}
		if c.EUID == 0 && uid != 0 {
			c.effective = 0
		} else if c.EUID != 0 && uid == 0 {
			c.effective = c.permitted
		}
		c.EUID = uid
		t.cred = &c
		return 0, nil
	})
	return err
}

// SetIDs gives the task other ids, capabilities kept: what a container manager would have done before.
func (t *Task) SetIDs(uid, gid uint32, ns *UserNS) {
	c := *t.cred
	c.UID, c.EUID, c.SUID = uid, uid, uid
	c.GID, c.EGID, c.SGID = gid, gid, gid
	c.UserNS = ns
	t.cred = &c
}
