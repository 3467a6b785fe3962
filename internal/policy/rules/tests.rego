# METADATA
# title: The image's tests passed
# description: The tester stated that all tests of the image passed, for this very plan.
# custom:
#   id: tests
#   start: shows
package imx.policy.tests

stated := input.evidence.test

met if {
	stated.counts
	stated.facts.result == "PASSED"
	stated.facts.plan == input.plan.digest
}

evidence contains stated.statement if stated.counts

says := stated.summary if met

else := "the image wasn't tested" if not stated

else := sprintf("the result doesn't count: %s", [stated.why]) if not stated.counts

else := stated.summary if stated.facts.result != "PASSED"

else := sprintf("the tests were of the plan %s, and not of %s", [stated.facts.plan, input.plan.digest])

hint := "imx test tells more; imx apply tests before it releases" if not met
