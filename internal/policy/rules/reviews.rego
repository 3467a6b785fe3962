# METADATA
# title: Enough people said yes to the candidate
# description: >-
#   As many different people as the policy's `reviews` approved this very candidate, each with a signature of their own. They are reviewers
#   at this moment, and none of them wrote or applied it. Who rejects its plan stands in the way, until they approve it.
# custom:
#   id: reviews
#   start: shows
package imx.policy.reviews

needed := data.settings.reviews

# Who had a hand in it can't be the one who looks at it.
authors contains input.plan.by if input.plan.by != ""

authors contains name if some name in input.authors

# of this plan, in the order in which they were given
given := [r | some r in input.reviews; r.plan == input.plan.digest]

answers := [r | some r in given; r.counts; r.reviewer]

approvals contains r.by if {
	some i, r in answers
	r.approves
	here(r)
	not r.by in authors
	not taken_back(i, r)
}

# A no is to the plan, whichever candidate it was given to.
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

# A yes is to a candidate: what runs beside it, and how it is tested, are another's.
here(r) if {
	input.candidate
	r.candidate == input.candidate
}

ignored contains sprintf("%s's doesn't count: %s", [r.by, r.why]) if {
	some r in given
	not r.counts
	r.reviewer
	concerns(r)
}

ignored contains sprintf("%s is no reviewer", [r.by]) if {
	some r in given
	not r.reviewer
	concerns(r)
}

ignored contains sprintf("%s had a hand in it", [r.by]) if {
	some r in answers
	r.approves
	r.by in authors
	here(r)
}

# Of an answer whose bytes can't be read nobody knows what it is for.
concerns(r) if here(r)

concerns(r) if not r.approves

concerns(r) if object.get(r, "candidate", "") == ""

earlier contains sprintf("%s's is for the candidate %s, and not for this one", [r.by, r.candidate]) if {
	some r in answers
	r.approves
	not here(r)
	not r.by in approvals
	not met
}

met if {
	count(approvals) >= needed
	count(rejections) == 0
}

evidence contains r.bundle if {
	some r in answers
	r.approves
	here(r)
	r.by in approvals
}

says := concat("; ", array.concat(array.concat([outcome], sort(ignored)), sort(earlier)))

outcome := sprintf("rejected by %s", [concat(", ", sort(rejections))]) if count(rejections) > 0

else := sprintf("approved by %s", [concat(", ", sort(approvals))]) if count(approvals) > 0

else := "the policy asks for none" if needed == 0

else := "nobody approved it"

hint := sprintf("the rejection stands until who gave it approves: %s, with imx approve %s; or change the template", [
	concat(", ", sort(rejections)), object.get(input, "candidate", "CANDIDATE"),
]) if count(rejections) > 0

else := sprintf("%d of %d approvals are there; imx review %s shows it, imx approve %s says yes", [count(approvals), needed, input.candidate, input.candidate]) if {
	not met
	input.candidate
}

else := sprintf("%d of %d approvals are there; imx review shows what waits, imx approve says yes", [count(approvals), needed]) if not met
