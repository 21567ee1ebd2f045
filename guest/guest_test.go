package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
)

// bzImage makes the header of a kernel and as many bytes as it tells of.
func bzImage(release string) []byte {
	const setup, sys = 3, 40
	b := make([]byte, (setup+1)*sector+sys*sysSizeUnit)
	le := binary.LittleEndian
	b[offSetupSects] = setup
	le.PutUint32(b[offSysSize:], sys)
	le.PutUint16(b[offBootFlag:], bootFlag)
	copy(b[offMagic:], magic)
	le.PutUint16(b[offProtocol:], protocolXLoad)
	le.PutUint16(b[offRelease:], 0x300)
	copy(b[0x500:], release+" (somebody@host) #1 SMP\x00")
	le.PutUint16(b[offXLoadFlags:], flagKernel64)
	return b
}

func TestOpenImage(t *testing.T) {
	good := bzImage("4.4.1-vendor")
	wide := bytes.Clone(good)
	wide[offXLoadFlags] = 0
	tests := []struct {
		name string
		data []byte
		want string // in the error
	}{
		{"whole", good, ""},
		{"longer", append(bytes.Clone(good), 1, 2, 3), ""}, // a signature may follow
		{"truncated", good[:len(good)-1], "truncated: the header tells of 2688 bytes, the file has 2687"},
		{"headless", good[:100], "100 bytes are too few"},
		{"empty", nil, "0 bytes are too few"},
		{"text", bytes.Repeat([]byte("text\n"), 1000), "the header of a bzImage (HdrS) is missing"},
		{"gzip", append([]byte{0x1f, 0x8b, 8}, good...), "compressed with gzip"},
		{"vmlinux", append([]byte("\x7fELF"), good...), "an ELF file, perhaps vmlinux"},
		{"32-bit", wide, "a 32-bit kernel"},
	}
	for _, test := range tests {
		path := filepath.Join(t.TempDir(), test.name)
		if err := os.WriteFile(path, test.data, 0o666); err != nil {
			t.Fatal(err)
		}
		image, err := OpenImage(path)
		switch {
		case test.want == "" && (err != nil || image.Release != "4.4.1-vendor"):
			t.Errorf("%s: %+v, %v", test.name, image, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "nothing"), t.TempDir()} {
		if _, err := OpenImage(path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

// TestLine: what was damaged on the way never counts as a message.
func TestLine(t *testing.T) {
	var wire bytes.Buffer
	line := NewLine(&wire)
	sent := []string{"plain", "two\nlines\r\n", "", strings.Repeat("long ", 10000), "\x00\x03\x11\x1a ä"}
	for _, text := range sent {
		if err := line.Send(text); err != nil {
			t.Fatal(err)
		}
	}
	whole := wire.String()
	for _, want := range sent {
		var got string
		if err := line.Receive(&got); err != nil || got != want {
			t.Errorf("received %.20q, %v, want %.20q", got, err, want)
		}
	}
	var got string
	if err := line.Receive(&got); err != io.EOF {
		t.Errorf("after the last message: %v", err)
	}
	first, _, _ := strings.Cut(whole, "\n")
	for i := range first {
		damaged := []byte(first + "\n")
		damaged[i] ^= 0x04
		var garbled *Garbled
		if err := NewLine(bytes.NewBuffer(damaged)).Receive(&got); !errors.As(err, &garbled) {
			t.Errorf("with another byte %d: %q, %v", i, got, err)
		}
	}
	var garbled *Garbled
	if err := NewLine(bytes.NewBufferString("\n")).Receive(&got); !errors.As(err, &garbled) {
		t.Errorf("an empty line: %v", err)
	}
}

const oops = `[    1.203311] BUG: unable to handle kernel NULL pointer dereference at 00000000000000d0` + "\r\n" +
	`[    1.203902] IP: [<ffffffff8140b6f6>] netlink_ack+0x66/0x2a0` + "\r\n" +
	`[    1.204331] Oops: 0000 [#1] SMP ` + "\r\n" +
	`[    1.204665] RIP: 0010:[<ffffffff8140b6f6>]  [<ffffffff8140b6f6>] netlink_ack+0x66/0x2a0` + "\r\n" +
	`[    1.207000] Kernel panic - not syncing: Fatal exception` + "\r\n"

func TestFindCrash(t *testing.T) {
	tests := []struct{ console, want string }{
		{oops, "BUG: unable to handle kernel NULL pointer dereference at 00000000000000d0, in netlink_ack"},
		{"[ 0.1] booting\nkernel BUG at mm/slub.c:3413!\nRIP: 0010:[<ffffffff8114d0a6>]  [<ffffffff8114d0a6>] kfree+0x156/0x160\n",
			"kernel BUG at mm/slub.c:3413!, in kfree"},
		{"Kernel panic - not syncing: Out of memory and no killable processes...\n",
			"Kernel panic - not syncing: Out of memory and no killable processes..."},
		{"[    2.100000] general protection fault: 0000 [#1] SMP\n[    2.100000] RIP: 0010:__kmalloc+0x7e/0x1d0\n",
			"general protection fault: 0000 [#1] SMP, in __kmalloc"},
		{"WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2()\n", ""},
		{"random: nonblocking pool is initialized\n", ""},
	}
	for _, test := range tests {
		got := ""
		if c := findCrash(test.console); c != nil {
			got = c.String()
		}
		if got != test.want {
			t.Errorf("%q:\ngot  %s\nwant %s", test.console, got, test.want)
		}
	}
}

// TestConsole: a crash is noticed however the bytes arrive, and only once its line is whole.
func TestConsole(t *testing.T) {
	var copied strings.Builder
	c := newConsole()
	c.copies = append(c.copies, &copied)
	for i := range oops {
		_, _ = c.Write([]byte(oops[i : i+1]))
		select {
		case <-c.crash:
			if !strings.Contains(oops[:i+1], "\n") {
				t.Fatalf("a crash after %q", oops[:i+1])
			}
		default:
			if strings.Contains(oops[:i+1], "\n") {
				t.Fatalf("no crash after %q", oops[:i+1])
			}
		}
	}
	if c.String() != oops || copied.String() != oops {
		t.Errorf("it keeps\n%s\nand copies\n%s", c, &copied)
	}
}

func TestExplain(t *testing.T) {
	tests := []struct {
		death Death
		want  string
	}{
		{Death{Why: Crashed, Console: "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n",
			Crash: &Crash{First: "Kernel panic"}}, "CONFIG_BLK_DEV_INITRD"},
		{Death{Why: Ended, Console: "guest: no second serial line: no such device\n"}, "CONFIG_SERIAL_8250_RUNTIME_UARTS"},
		{Death{Why: Hung}, "CONFIG_SERIAL_8250_CONSOLE"},
		{Death{Why: Ended}, "more memory"},
		{Death{Why: Ended, Detail: "no such option"}, "QEMU says: no such option"},
		{Death{Why: Ended, Console: "one\ntwo\n"}, "one\n    two"},
	}
	for _, test := range tests {
		if err := Explain(&test.death); !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want in it %s", test.death, err, test.want)
		}
	}
}

// TestInitramfs: every file is there once, behind the directory that it is in.
func TestInitramfs(t *testing.T) {
	data, err := initramfs([]byte("program"), []File{{"/a/x.txt", "one"}, {"/a/y.txt", "two"}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{"": ""}
	for r := cpio.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		dir, _, _ := strings.Cut(h.Name, "/")
		if _, twice := seen[h.Name]; twice {
			t.Errorf("%s is there twice", h.Name)
		}
		seen[h.Name] = string(text)
		if _, before := seen[dir]; !before && dir != h.Name {
			t.Errorf("%s comes before %s", h.Name, dir)
		}
	}
	if seen["init"] != "program" || seen["a/x.txt"] != "one" || seen["a/y.txt"] != "two" {
		t.Errorf("it has %q", seen)
	}
}

func TestProgram(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Program(text); err == nil || !strings.Contains(err.Error(), "no Linux executable for x86-64") {
		t.Errorf("a script: %v", err)
	}
}
