package userspace_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nlmmap/guest"
	"nlmmap/internal/long"
	"nlmmap/scenario/live"
)

// TestMain lets this program be process 1 of the machines that TestKernels boots.
func TestMain(m *testing.M) {
	if guest.IsGuest() {
		guest.Main(serve)
		return
	}
	os.Exit(m.Run())
}

// A report is what a guest says of one program.
type report struct {
	Log []string
	Err string
}

// serve runs the programs on the kernel underneath.
func serve(line *guest.Line) error {
	for _, program := range programs {
		if err := line.Send(play(program)); err != nil {
			return err
		}
	}
	return nil
}

func play(program program) report {
	target, err := live.New(live.Config{})
	if err != nil {
		return report{Err: err.Error()}
	}
	log, err := program(target.Main())
	if err != nil {
		return report{log, err.Error()}
	}
	if err := target.Close(); err != nil {
		return report{log, err.Error()}
	}
	return report{Log: log}
}

// TestKernels: the shipped readers, writers and dumpers do the same on the kernels that are modelled, booted in QEMU, as on
// their models.
func TestKernels(t *testing.T) {
	long.Only(t, "boots a machine for each kernel")
	init, err := guest.Self()
	if err != nil {
		t.Skipf("This test cannot be process 1 of a machine: %v.", err)
	}
	for _, r := range releases {
		t.Run(r.String(), func(t *testing.T) {
			image, err := guest.OpenImage(filepath.Join("..", "..", "shared", "images", "bzImage-"+r.String()))
			if err != nil {
				t.Skipf("There is no image of this kernel: %v.", err)
			}
			m, err := guest.Start(guest.Config{Image: image, Init: init})
			if err != nil {
				t.Skipf("Machines need QEMU: %v.", err)
			}
			defer m.Close()
			for i, program := range programs {
				var got report
				if err := m.Receive(t.Context().Done(), 3*time.Minute, &got); err != nil {
					t.Fatal(err)
				}
				want, err := program(modelTask(t, r))
				must(t, err)
				if got.Err != "" || fmt.Sprintf("%q", got.Log) != fmt.Sprintf("%q", want) {
					t.Errorf("program %d: %s\nkernel: %q\nmodel:  %q", i, got.Err, got.Log, want)
				}
			}
		})
	}
}
