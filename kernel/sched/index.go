package sched

import "iter"

// An index knows which steps touched what. The zero value knows of none.
type index struct {
	objects [][]int32          // by object that they announced
	cells   map[uint64][]int32 // by cell that they turned out to touch
	looks   [][]int32          // by object that an observer looked at
}

func (x *index) reset() {
	for i := range x.objects {
		x.objects[i] = x.objects[i][:0]
	}
	for i := range x.looks {
		x.looks[i] = x.looks[i][:0]
	}
	for c, list := range x.cells {
		x.cells[c] = list[:0]
	}
}

// add enters a step, after all earlier ones.
func (x *index) add(step int32, op Op, touched []Access) {
	if op.Obj != 0 {
		enter(&x.objects, op.Obj, step)
	}
	if op.Also != 0 && op.Also != op.Obj {
		enter(&x.objects, op.Also, step)
	}
	for _, a := range touched {
		if a.Obj != 0 {
			enter(&x.looks, a.Obj, step)
			continue
		}
		if x.cells == nil {
			x.cells = map[uint64][]int32{}
		}
		x.cells[a.Cell] = appendOnce(x.cells[a.Cell], step)
	}
}

func enter(lists *[][]int32, o Obj, step int32) {
	for int(o) >= len(*lists) {
		*lists = append(*lists, nil)
	}
	(*lists)[o] = appendOnce((*lists)[o], step)
}

// appendOnce appends a step to a list, unless that was the last already.
func appendOnce(list []int32, step int32) []int32 {
	if n := len(list); n > 0 && list[n-1] == step {
		return list
	}
	return append(list, step)
}

// lists yields the steps, in order, that can clash with a step: with each thing that both touch, those that touch it. Which of them do
// clash, if for the parts or the ways, remains to be seen.
func (x *index) lists(op Op, touched []Access) iter.Seq[[]int32] {
	return func(yield func([]int32) bool) {
		of := func(lists [][]int32, o Obj) bool { return o == 0 || int(o) >= len(lists) || yield(lists[o]) }
		if !of(x.objects, op.Obj) || op.Also != op.Obj && !of(x.objects, op.Also) {
			return
		}
		for _, a := range touched {
			if a.Obj == 0 && !yield(x.cells[a.Cell]) || a.Obj != 0 && !of(x.objects, a.Obj) {
				return
			}
		}
		if op.Write && of(x.looks, op.Obj) && op.Also != op.Obj {
			of(x.looks, op.Also)
		}
	}
}
