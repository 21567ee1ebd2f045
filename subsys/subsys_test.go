package subsys_test

import (
	"fmt"
	"reflect"
	"testing"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/uapi"
)

// TestNames: each difference has one name, and a name that nobody knows is refused.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range new(subsys.Differences).Table() {
		if seen[d.Name] {
			t.Errorf("%s is there twice", d.Name)
		}
		seen[d.Name] = true
		if d.Spec == "" || d.Text == "" || len(d.Values()) == 0 {
			t.Errorf("%s is not described", d.Name)
		}
	}
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Set: map[string]string{"rtm-max": "91", "nonsense": "on"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := subsys.Register(k); err == nil {
		t.Error("nonsense is accepted")
	}
}

// TestFields: each field of each struct of differences is declared, and only once.
func TestFields(t *testing.T) {
	declared := map[string]string{}
	for i := range new(subsys.Differences).Table() {
		d := new(subsys.Differences)
		entry := d.Table()[i : i+1]
		if !entry[0].Settable() {
			continue
		}
		set(t, entry)
		for _, path := range nonzero("", reflect.ValueOf(*d)) {
			if other := declared[path]; other != "" {
				t.Errorf("%s is declared as %s and as %s", path, other, entry[0].Name)
			}
			declared[path] = entry[0].Name
		}
	}
	for _, path := range leaves("", reflect.TypeFor[subsys.Differences]()) {
		if declared[path] == "" {
			t.Errorf("nothing declares %s", path)
		}
	}
}

// set gives a difference a value that is not the field's zero value.
func set(t *testing.T, entry []kernel.Difference) {
	values := entry[0].Values()
	v := kernel.Version{Set: map[string]string{entry[0].Name: values[len(values)-1]}}
	if err := v.Resolve(entry); err != nil {
		t.Error(err)
	}
}

// nonzero returns the paths of the fields that are not zero.
func nonzero(path string, v reflect.Value) (paths []string) {
	if v.Kind() != reflect.Struct {
		if v.IsZero() {
			return nil
		}
		return []string{path}
	}
	for i := range v.NumField() {
		paths = append(paths, nonzero(path+"."+v.Type().Field(i).Name, v.Field(i))...)
	}
	return paths
}

// leaves returns the paths of all fields that are no structs.
func leaves(path string, t reflect.Type) (paths []string) {
	if t.Kind() != reflect.Struct {
		return []string{path}
	}
	for i := range t.NumField() {
		paths = append(paths, leaves(path+"."+t.Field(i).Name, t.Field(i).Type)...)
	}
	return paths
}

func BenchmarkBoot(b *testing.B) {
	for b.Loop() {
		k, err := kernel.Boot(kernel.Config{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := subsys.Register(k); err != nil {
			b.Fatal(err)
		}
	}
}

// A machine with everything on it, and an acknowledgement.
func Example() {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	if err != nil {
		panic(err)
	}
	if _, err := subsys.Register(k); err != nil {
		panic(err)
	}
	task := k.NewProcess("main", k.NewNet())
	fd, _ := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
	noop := make([]byte, uapi.NLMsgHdrlen)
	uapi.NLMsgHdr{Len: uapi.NLMsgHdrlen, Type: uapi.NLMsgNoop, Flags: uapi.NLMFRequest | uapi.NLMFAck, Seq: 1}.Put(noop)
	_, _ = task.Sendto(fd, noop, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	buf := make([]byte, 100)
	n, _ := task.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0)
	fmt.Println(n, "bytes of type", uapi.ParseNLMsgHdr(buf).Type)
	fmt.Println(k.Close())
	// Output:
	// 36 bytes of type 2
	// <nil>
}
