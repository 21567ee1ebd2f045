package boot_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nlmmap/guest"
	"nlmmap/internal/long"
	"nlmmap/scenario"
	"nlmmap/scenario/boot"
)

const (
	images     = "../../../shared/images"
	recordings = "../../testdata/kernels"
)

// image opens one of the kernels beside the module. A test is skipped where it cannot be booted.
func image(t *testing.T, release string) guest.Image {
	t.Helper()
	long.Only(t, "boots kernels")
	if _, err := guest.FindQEMU(""); err != nil {
		t.Skip(err)
	}
	path := filepath.Join(images, "bzImage-"+release)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("there are no kernel images in %s", images)
	}
	image, err := guest.OpenImage(path)
	if err != nil {
		t.Fatal(err)
	}
	if image.Release != release {
		t.Errorf("%s calls itself %q", path, image.Release)
	}
	return image
}

// program builds the command as its users do. A test itself may need shared libraries, for the race detector.
var program = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "boot")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "nlmmap")
	if out, err := exec.Command("go", "build", "-o", path, "nlmmap/cmd/nlmmap").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return guest.Program(path)
})

func open(t *testing.T, cfg boot.Config, files ...*scenario.File) *boot.Lab {
	t.Helper()
	cfg.Init = program
	cfg.Tell = func(text string) { t.Log(text) }
	var scenarios []boot.Scenario
	for _, f := range files {
		scenarios = append(scenarios, boot.Scenario{File: f, InitNet: f.InitNet()})
	}
	lab, err := boot.Open(context.Background(), cfg, scenarios)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lab.Close)
	return lab
}

func parse(t *testing.T, name, text string) *scenario.File {
	t.Helper()
	f, err := scenario.Parse(name, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// all runs every scenario the given number of times.
func all(t *testing.T, lab *boot.Lab, n, times int) [][]boot.Run {
	t.Helper()
	results := make([][]boot.Run, n)
	which := make([]int, n)
	for i := range which {
		which[i] = i
	}
	err := lab.Run(context.Background(), which, times, func(i int, runs []boot.Run) { results[i] = runs })
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// TestRecordings: the oldest and the newest image do what is recorded of them, twice and in two guests.
func TestRecordings(t *testing.T) {
	for _, release := range []string{"3.10.4", "4.5.7"} {
		t.Run(release, func(t *testing.T) {
			image := image(t, release)
			var files []*scenario.File
			for _, name := range []string{"tx_basic", "sock_diag_figures", "fork_shares_ring", "init_nfqueue_skip", "blocking_receive"} {
				text, err := os.ReadFile(filepath.Join(recordings, release, name+".txt"))
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, parse(t, name+".txt", string(text)))
			}
			lab := open(t, boot.Config{Guest: guest.Config{Image: image}, Guests: 2}, files...)
			if k := lab.Kernel; k.Release != release || !k.Rings || slices.Contains(k.Missing, "CONFIG_NLMON") != (release == "3.10.4") {
				t.Errorf("it says of itself %+v", k)
			}
			for i, runs := range all(t, lab, len(files), 2) {
				for _, run := range runs {
					if r := scenario.Compare(files[i], run.Outputs); !r.OK() || run.Failure != "" {
						t.Errorf("%s: %v, %s", files[i].Name, r.First, run.Failure)
					}
				}
			}
		})
	}
}

// TestPlay: guests run scenarios that they were not given when they booted.
func TestPlay(t *testing.T) {
	image := image(t, "4.5.7")
	lab := open(t, boot.Config{Guest: guest.Config{Image: image}, Guests: 2})
	long := "# " + strings.Repeat("long ", 4000) + "\n"
	outputs := make([]string, 6)
	err := lab.Each(context.Background(), len(outputs), func(ctx context.Context, g *boot.Guest, i int) error {
		f := parse(t, "drawn", fmt.Sprintf("%ssocket a route\n\nbind a portid=%d\n\ngetsockname a\n", long, 1000+i))
		run, err := g.Play(ctx, boot.Scenario{File: f})
		outputs[i] = strings.Join(run.Outputs, "") + run.Failure
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, out := range outputs {
		if want := fmt.Sprintf("ok\nok\nportid=%d groups=0x0\n", 1000+i); out != want {
			t.Errorf("%d: %q, want %q", i, out, want)
		}
	}
}

// TestRace: two processors come to what the model has, and to nothing else.
func TestRace(t *testing.T) {
	image := image(t, "4.5.7")
	lab := open(t, boot.Config{Guest: guest.Config{Image: image, CPUs: 2}})
	f := parse(t, "race", "socket a route\n\nparallel\nthread p\n  bind a portid=5\nthread q\n  bind a portid=6\n\ngetsockname a\n")
	possible := []string{"p: EBUSY; q: ok; portid=6 groups=0x0", "p: EINVAL; q: ok; portid=6 groups=0x0",
		"p: ok; q: EBUSY; portid=5 groups=0x0", "p: ok; q: EINVAL; portid=5 groups=0x0"}
	err := lab.Each(context.Background(), 1, func(ctx context.Context, g *boot.Guest, _ int) error {
		const runs = 20
		seen, failure, err := g.Race(ctx, boot.Scenario{File: f}, runs, 1)
		all := 0
		for text, n := range seen {
			all += n
			if !slices.Contains(possible, text) {
				t.Errorf("%d times: %s", n, text)
			}
		}
		if all != runs || failure != "" {
			t.Errorf("%d outcomes, %s", all, failure)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDeaths: a kernel that crashes or hangs has that as the step's output, and what is left goes on.
func TestDeaths(t *testing.T) {
	image := image(t, "4.4.1")
	crash := parse(t, "crash", `socket a netfilter

# A batch for a subsystem that takes none: its acknowledgement follows a null pointer.
send a
msg type=16 flags=request seq=1 payload=4 hex=00000001

recv a
`)
	hang := parse(t, "hang", "sleep ms=1\n\nsleep ms=60000\n\nsleep ms=1\n")
	fine := parse(t, "fine", "sleep ms=1\n")
	lab := open(t, boot.Config{Guest: guest.Config{Image: image}, Limit: 10 * time.Second}, crash, hang, fine)
	results := all(t, lab, 3, 1)
	want := [][]string{
		{"ok\n", "oops: BUG: unable to handle kernel NULL pointer dereference at 0000000000000149, in netlink_getsockbyportid\n", "not run\n"},
		{"ok\n", "hangs\n", "not run\n"},
		{"ok\n"},
	}
	for i, runs := range results {
		if !slices.Equal(runs[0].Outputs, want[i]) {
			t.Errorf("outputs %q, want %q", runs[0].Outputs, want[i])
		}
	}
	if d := results[0][0].Death; d == nil || d.Why != guest.Crashed || !strings.Contains(d.Crash.Lines[1], "netlink_getsockbyportid") {
		t.Errorf("the crash is %+v", d)
	}
}

// TestNoGuest: what keeps a guest from coming up is said in terms of the kernel's configuration, or of QEMU.
func TestNoGuest(t *testing.T) {
	image := image(t, "4.5.7")
	tests := []struct {
		guest guest.Config
		want  string
	}{
		{guest.Config{Append: "8250.nr_uarts=1"}, "CONFIG_SERIAL_8250_RUNTIME_UARTS"},
		{guest.Config{Append: "rdinit=/nothing"}, "CONFIG_BLK_DEV_INITRD"},
		{guest.Config{QEMU: "false"}, "QEMU says: exit status 1"},
		{guest.Config{QEMU: "no-such-program"}, "apt-get install qemu-system-x86"},
	}
	for _, test := range tests {
		test.guest.Image = image
		_, err := boot.Open(context.Background(), boot.Config{Guest: test.guest, Init: program}, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want in it %s", err, test.want)
		}
	}
}

// TestInterrupted: nothing is left of a guest when the context ends.
func TestInterrupted(t *testing.T) {
	image := image(t, "4.5.7")
	lab := open(t, boot.Config{Guest: guest.Config{Image: image}}, parse(t, "long", "sleep ms=60000\n"))
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	begin := time.Now()
	err := lab.Run(ctx, []int{0}, 1, func(int, []boot.Run) { t.Error("there is a result") })
	if err == nil || time.Since(begin) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func Example() {
	ctx := context.Background()
	f, err := scenario.Parse("one.txt", strings.NewReader("socket a route\n\nbind a portid=7\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	// An image that is none is refused before anything boots.
	if _, err := guest.OpenImage("boot_test.go"); err != nil {
		fmt.Println(err)
	}
	if image, err := guest.OpenImage("bzImage"); err == nil {
		lab, err := boot.Open(ctx, boot.Config{Guest: guest.Config{Image: image}}, []boot.Scenario{{File: f}})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer lab.Close()
		_ = lab.Run(ctx, []int{0}, 2, func(_ int, runs []boot.Run) { fmt.Println(runs[0].Outputs) })
	}
	// Output:
	// boot_test.go: no kernel image that can be booted: the header of a bzImage (HdrS) is missing
}
