// Package bench measures what this machine makes of the networks: how long they take, how much of what bare matrix products
// reach in the same minute that is, and what memory it takes. Products, the network and, if wanted, the same network in
// PyTorch take turns, so that a machine that gets warm or busy slows all of them alike.
//
// Weights of the real shapes are made for the occasion unless there are some; what is measured does not depend on their
// values. A network may be measured with fewer blocks than it has: all blocks are alike.
//
// A table of many such measurements is docs/performance.md; a check measures its short ones again and compares ratios.
//
// It must not know the command line, and it leaves nothing behind.
package bench
