# METADATA
# title: The rules find nothing in the template that isn't waived
# description: >-
#   The scanner stated what the rules found in the template that the image was made from: nothing as bad as what the server refuses, but what a
#   waiver excuses that hasn't ended.
# custom:
#   id: checks
#   start: shows
package imx.policy.checks

stated := input.evidence.check

levels := ["critical", "high", "medium", "low"]

# from the worst to the least that refuses
refusing contains level if {
	some i, level in levels
	some j
	levels[j] == stated.facts.refuse
	i <= j
}

found contains sprintf("%s (%s)", [f.rule, f.severity]) if {
	some f in stated.facts.findings
	f.severity in refusing
	not waived(f)
}

waived(f) if time.parse_rfc3339_ns(f.until) > time.parse_rfc3339_ns(input.now)

met if {
	stated.counts
	count(found) == 0
}

evidence contains stated.statement if stated.counts

until := min(ends) if {
	met
	count(ends) > 0
}

ends contains time.parse_rfc3339_ns(f.until) if {
	some f in stated.facts.findings
	f.severity in refusing
}

says := stated.summary if met

else := "the template wasn't checked" if not stated

else := sprintf("the check doesn't count: %s", [stated.why]) if not stated.counts

else := sprintf("the rules find: %s", [concat(", ", sort(found))])

hint := "imx check shows each place; mend it, or excuse it for a time with a waiver block" if not met
