package nfnetlink

import "nlmmap/kernel"

// Messages and attributes of nf_tables that the stand-in knows.
const (
	NFTMsgNewTable = 0
	NFTMsgDelTable = 2
	NFTATableName  = 1
)

// BatchStats counts how batches ended.
type BatchStats struct {
	Changes int // messages that a batch had
	Commits int
	Aborts  int
}

// Batches returns how batches have ended so far, in all namespaces. It must not be called while one runs.
func (f *Family) Batches() BatchStats { return f.batches }

// nfTables is a stand-in for nf_tables, so that there is a subsystem that takes batches. It stores nothing: tables can
// be made and removed, in batches only, and all that happens is that they are counted.
//
// EINVAL for a message without a name.
func nfTables(f *Family) *Subsystem {
	change := Handler{Policy: []int{NFTATableName: 1}, CallBatch: func(_ *kernel.Task, r *Request) error {
		if r.Attr(NFTATableName) == nil {
			return kernel.Errorf(kernel.EINVAL, "the table has no name")
		}
		f.batches.Changes++
		return nil
	}}
	return &Subsystem{Name: "nf_tables", ID: SubsysNFTables,
		Handlers: []Handler{NFTMsgNewTable: change, 1: {}, NFTMsgDelTable: change},
		Commit:   func(*kernel.Task, *kernel.Net) { f.batches.Commits++ },
		Abort:    func(*kernel.Task, *kernel.Net) { f.batches.Aborts++ }}
}
