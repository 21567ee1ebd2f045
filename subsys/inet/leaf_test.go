package inet

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestLeaves: whatever goes in and out, leaves are what a sorted list is.
func TestLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		six := rapid.Bool().Draw(t, "IPv6")
		var l leaves
		var model []Route
		address := func() netip.Addr {
			// Few, so that prefixes meet and lie in one another.
			b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 128, 255}), 4, 4).Draw(t, "address")
			if six {
				return netip.AddrFrom16([16]byte{0: 0x20, 1: b[0], 8: b[1], 14: b[2], 15: b[3]})
			}
			return netip.AddrFrom4([4]byte(b))
		}
		for id := range uint64(rapid.IntRange(1, 1200).Draw(t, "changes")) {
			a := address()
			dst := netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked()
			at, known := slices.BinarySearchFunc(model, dst, func(r Route, dst netip.Prefix) int { return compareDst(r.Dst, dst) })
			if known && rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
				l.delete(dst, 0)
				model = slices.Delete(model, at, at+1)
				continue
			}
			l.insert(0, Route{Dst: dst, id: id})
			model = slices.Insert(model, at, Route{Dst: dst, id: id})
		}
		if rapid.Bool().Draw(t, "drop") {
			third := func(r Route) bool { return r.id%3 == 0 }
			gone, rest := apart(model, third)
			if got := l.drop(third); !slices.Equal(got, gone) {
				t.Fatalf("dropped %v, not %v", got, gone)
			}
			model = rest
		}
		skip := rapid.IntRange(0, len(model)+1).Draw(t, "skip")
		if got, want := slices.Collect(l.all(skip)), model[min(skip, len(model)):]; !slices.Equal(got, want) {
			t.Fatalf("without the first %d\n%v, not\n%v", skip, got, want)
		}
		a := address()
		var got, want []netip.Prefix
		for f := range l.covering(a) {
			got = append(got, f.dst)
		}
		for _, r := range model {
			if r.Dst.Contains(a) && !slices.Contains(want, r.Dst) {
				want = append(want, r.Dst)
			}
		}
		slices.SortFunc(want, func(a, b netip.Prefix) int { return b.Bits() - a.Bits() })
		if !slices.Equal(got, want) {
			t.Fatalf("%v is in %v, not in %v", a, got, want)
		}
		first := netip.PrefixFrom(a, a.BitLen())
		for f := range l.from(first) {
			i := slices.IndexFunc(model, func(r Route) bool { return compareDst(r.Dst, first) >= 0 })
			if i < 0 || model[i].Dst != f.dst {
				t.Fatalf("from %v on comes %v", first, f.dst)
			}
			break
		}
	})
}

// BenchmarkLeaves: routes enter a table of 100,000 in no order.
func BenchmarkLeaves(b *testing.B) {
	var l leaves
	route := func(i int) Route {
		i = i * 0x9e3779b1 & 0xffffff
		return Route{Dst: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)}
	}
	for i := range 100_000 {
		l.insert(0, route(i))
	}
	for i := 100_000; b.Loop(); i++ {
		l.insert(0, route(i))
		l.delete(route(i-100_000).Dst, 0)
	}
}
