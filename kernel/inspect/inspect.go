// Package inspect has the key to a machine's words for those who look at it from outside: checkers, printing, tests.
//
// Kernel code reads a word that others can change at a scheduling point, or under the lock that keeps them out, so that
// a search knows of the read. A checker must not make such points: it would change what it looks at. What it calls
// instead asks for a Key:
//
//	sk.Rmem.Inspect(inspect.Key{})
//
// Kernel code may hand on a key that a checker gave it, and never makes one: a test of the repository looks for it.
package inspect

// A Key says that the caller is no kernel code.
type Key struct{}
