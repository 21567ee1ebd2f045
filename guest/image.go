package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// An Image is a kernel that can be booted: a bzImage for x86-64.
type Image struct {
	Path    string
	Release string // as the header has it: what uname -r will say
}

// The header of a bzImage, as the x86 boot protocol describes it.
const (
	offSetupSects   = 0x1f1 // sectors of the real-mode part, behind the first
	offSysSize      = 0x1f4 // the rest, in units of 16 bytes
	offBootFlag     = 0x1fe
	offMagic        = 0x202
	offProtocol     = 0x206
	offRelease      = 0x20e // where the release's name is, behind the first sector
	offXLoadFlags   = 0x236
	headerLen       = 0x260
	sector          = 512
	protocolXLoad   = 0x20c // the first with xloadflags
	flagKernel64    = 1
	longestRelease  = 128
	bootFlag        = 0xaa55
	magic           = "HdrS"
	defaultSetup    = 4
	sysSizeUnit     = 16
	errNotBootable  = "no kernel image that can be booted"
	compressedImage = "%s: compressed with %s: expected a bzImage as the kernel's build makes it; decompress the file first"
)

// OpenImage checks that a file is a whole bzImage and reads its header.
func OpenImage(path string) (Image, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, fmt.Errorf("%s: no such file", path)
	}
	if err != nil {
		return Image{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Image{}, err
	}
	if !info.Mode().IsRegular() {
		return Image{}, fmt.Errorf("%s: %s: not a regular file", path, errNotBootable)
	}
	head := make([]byte, headerLen)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Image{}, err
	}
	if err := checkHeader(path, head[:n], info.Size()); err != nil {
		return Image{}, err
	}
	return Image{Path: path, Release: release(f, head)}, nil
}

// foreign are the files that are most easily taken for a bzImage, by what they begin with.
var foreign = []struct{ prefix, what string }{
	{"\x1f\x8b", "gzip"},
	{"\xfd7zXZ\x00", "xz"},
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"BZh", "bzip2"},
	{"\x5d\x00\x00", "lzma"},
	{"\x02\x21\x4c\x18", "lz4"},
	{"\x04\x22\x4d\x18", "lz4"},
	{"\x89LZO", "lzop"},
}

func checkHeader(path string, head []byte, size int64) error {
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.prefix)) {
			return fmt.Errorf(compressedImage, path, f.what)
		}
	}
	if bytes.HasPrefix(head, []byte("\x7fELF")) {
		return fmt.Errorf("%s: an ELF file, perhaps vmlinux: expected arch/x86/boot/bzImage of the same build", path)
	}
	le := binary.LittleEndian
	if len(head) < headerLen {
		return fmt.Errorf("%s: %s: %d bytes are too few for a bzImage", path, errNotBootable, len(head))
	}
	if le.Uint16(head[offBootFlag:]) != bootFlag || string(head[offMagic:offMagic+4]) != magic {
		return fmt.Errorf("%s: %s: the header of a bzImage (HdrS) is missing", path, errNotBootable)
	}
	setup := int64(head[offSetupSects])
	if setup == 0 {
		setup = defaultSetup
	}
	if want := (setup+1)*sector + int64(le.Uint32(head[offSysSize:]))*sysSizeUnit; size < want {
		return fmt.Errorf("%s: truncated: the header tells of %d bytes, the file has %d", path, want, size)
	}
	if le.Uint16(head[offProtocol:]) >= protocolXLoad && le.Uint16(head[offXLoadFlags:])&flagKernel64 == 0 {
		return fmt.Errorf("%s: a 32-bit kernel: expected one for x86-64", path)
	}
	return nil
}

// release reads the kernel's name from the real-mode part: the first word of "4.4.1 (somebody@host) #1 SMP".
func release(r io.ReaderAt, head []byte) string {
	at := binary.LittleEndian.Uint16(head[offRelease:])
	if at == 0 {
		return ""
	}
	text := make([]byte, longestRelease)
	n, _ := r.ReadAt(text, int64(at)+sector)
	name, _, _ := strings.Cut(string(text[:n]), "\x00")
	name, _, _ = strings.Cut(name, " ")
	return name
}
