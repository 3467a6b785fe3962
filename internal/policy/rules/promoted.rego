# METADATA
# title: It was good in the environment before this one
# description: >-
#   It comes from the environment that the policy's `after` names, whose server signed that all services of the plan had run it, good, for as long
#   as `soak` says without a break. What was released before, or is gone back to, isn't asked.
# custom:
#   id: promoted
#   start: shows
package imx.policy.promoted

after := object.get(data.settings, "after", "")

soak_ns := time.parse_duration_ns(object.get(data.settings, "soak", "0s"))

origin := input.origin

since_ns := time.parse_rfc3339_ns(origin.since)

ran_ns := time.parse_rfc3339_ns(origin.at) - since_ns

enough_ns := since_ns + soak_ns

right if {
	origin.counts
	origin.environment == after
}

met if after == ""

met if {
	right
	ran_ns >= soak_ns
}

evidence contains origin.bundle if origin.counts

moment(ns) := time.format([ns, "UTC", "RFC3339"])

span(ns) := sprintf("%d h", [floor(ns / 3600000000000)]) if ns >= 2 * 3600000000000

else := sprintf("%d min", [floor(ns / 60000000000)]) if ns >= 2 * 60000000000

else := sprintf("%d s", [floor(ns / 1000000000)])

was_good := sprintf("it was good in %s since %s, for %s", [origin.environment, moment(since_ns), span(ran_ns)])

says := "the policy asks for no environment before this one" if {
	after == ""
	not origin.counts
}

else := was_good if met

else := sprintf("it was planned here, and wasn't good in %s before", [after]) if not origin

else := sprintf("that it was good in %s doesn't count: %s", [origin.environment, origin.why]) if not origin.counts

else := sprintf("%s, and not in %s", [was_good, after]) if not right

else := sprintf("%s when it was asked, and must be for %s", [was_good, span(soak_ns)])

hint := sprintf("if it stays good there it is long enough at %s: then imx promote %s --from %s", [moment(enough_ns), input.service, after]) if {
	not met
	right
}

else := sprintf("imx promote %s --from %s takes over what is good there", [input.service, after]) if not met
