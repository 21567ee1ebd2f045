package guest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path"

	"github.com/cavaliergopher/cpio"
)

// A File is one that the guest finds at an absolute path.
type File struct {
	Path string
	Text string
}

// Where things are in the guest.
const (
	initPath    = "/init"
	markPath    = "/guest" // says that process 1 was booted by Start
	consolePath = "/dev/console"
	nullPath    = "/dev/null"
	dataPath    = "/dev/ttyS1" // the second serial line
)

// initramfs makes the archive that the kernel unpacks: not compressed, since a kernel may lack the code for that. Process 1
// makes the devices (see Main). Until then /dev/null is a file, for the standard descriptors of a program that was started
// without, which happens where the kernel finds no console.
func initramfs(init []byte, files []File) ([]byte, error) {
	var b bytes.Buffer
	w := archive{cpio.NewWriter(&b), map[string]bool{"/": true}}
	w.add(initPath, cpio.TypeReg|0o755, init)
	w.add(markPath, cpio.TypeReg|0o644, nil)
	w.add(nullPath, cpio.TypeReg|0o644, nil)
	w.add("/proc", cpio.TypeDir|0o555, nil)
	for _, f := range files {
		w.add(f.Path, cpio.TypeReg|0o644, []byte(f.Text))
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// An archive is written with the directories that its files are in.
type archive struct {
	*cpio.Writer
	dirs map[string]bool
}

// add adds a file or directory. What goes wrong Close tells: the bytes go to memory.
func (w archive) add(name string, mode cpio.FileMode, data []byte) {
	if dir := path.Dir(name); !w.dirs[dir] {
		w.dirs[dir] = true
		w.add(dir, cpio.TypeDir|0o755, nil)
	}
	_ = w.WriteHeader(&cpio.Header{Name: name[1:], Mode: mode, Links: 1, Size: int64(len(data))})
	_, _ = w.Write(data)
}

// Self returns the program that runs, which must be able to be the only one of a machine: an x86-64 executable of Linux
// that needs no shared library.
func Self() ([]byte, error) {
	name, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return Program(name)
}

// Program reads an executable and checks that it can be process 1.
func Program(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return nil, fmt.Errorf("%s cannot be process 1 of the guest: it is no Linux executable for x86-64", name)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s cannot be process 1 of the guest: it needs shared libraries; build it with "+
				"CGO_ENABLED=0 and without -race", name)
		}
	}
	return data, nil
}
