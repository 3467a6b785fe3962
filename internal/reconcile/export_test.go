package reconcile

// Step is one round of the loop, for tests that hold the clock.
var Step = (*Loop).Step

// Round is a Step whose failure is dealt with as Run does.
var Round = (*Loop).round
