// Package identify finds out which kernel a set of recordings is of: the nearest release, the fewest named differences that
// explain what that one does otherwise, and what no difference explains.
//
// The search knows nothing of what a difference does. It has the recordings, a model for every kernel that can be composed,
// and the count of steps that a model does not do as recorded:
//
//	the releases ─▶ all changes of one difference, played on the scenarios that disagree
//	                  │  those that help, played on all scenarios
//	                  ▼
//	                a few kernels with one change ─▶ ... ─▶ nothing helps, or nothing is left
//
// Several kernels are kept from one round to the next, so that a change that looks good and leads nowhere does not decide.
// Where no single change helps, pairs are tried, and all values of numbers. What is found is then proved (prove.go): without
// each of its differences some steps disagree, and these are its evidence.
package identify
