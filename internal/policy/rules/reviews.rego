# METADATA
# title: Enough people said yes to the plan
# description: >-
#   As many different people as the policy's `reviews` approved this very plan, each with a signature of their own. They are reviewers at
#   this moment, and none of them wrote or applied it. Who rejects it stands in the way, until they approve it.
# custom:
#   id: reviews
#   start: shows
package imx.policy.reviews

needed := data.settings.reviews

# Who had a hand in it can't be the one who looks at it.
authors contains input.plan.by if input.plan.by != ""

authors contains name if some name in input.authors

# in the order in which they were given
answers := [r | some r in input.reviews; r.plan == input.plan.digest; r.counts; r.reviewer]

approvals contains r.by if {
	some i, r in answers
	r.approves
	not r.by in authors
	not taken_back(i, r)
}

rejections contains r.by if {
	some i, r in answers
	not r.approves
	not taken_back(i, r)
}

taken_back(i, r) if {
	some j, later in answers
	j > i
	later.by == r.by
	later.approves != r.approves
}

ignored contains sprintf("%s's is for the plan %s, and not for %s", [r.by, r.plan, input.plan.digest]) if {
	some r in input.reviews
	r.plan != input.plan.digest
}

ignored contains sprintf("%s's doesn't count: %s", [r.by, r.why]) if {
	some r in input.reviews
	not r.counts
}

ignored contains sprintf("%s is no reviewer", [r.by]) if {
	some r in input.reviews
	not r.reviewer
}

ignored contains sprintf("%s had a hand in it", [r.by]) if {
	some r in answers
	r.approves
	r.by in authors
}

met if {
	count(approvals) >= needed
	count(rejections) == 0
}

evidence contains r.bundle if {
	some r in answers
	r.approves
	r.by in approvals
}

says := concat("; ", array.concat([outcome], sort(ignored)))

outcome := sprintf("rejected by %s", [concat(", ", sort(rejections))]) if count(rejections) > 0

else := sprintf("approved by %s", [concat(", ", sort(approvals))]) if count(approvals) > 0

else := "the policy asks for none" if needed == 0

else := "nobody approved it"

hint := sprintf("%d of %d approvals are there; imx review shows what waits, imx approve says yes", [count(approvals), needed]) if not met
