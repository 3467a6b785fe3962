package reconcile

// Step is one round of the loop, for tests that hold the clock.
var Step = (*Loop).step
