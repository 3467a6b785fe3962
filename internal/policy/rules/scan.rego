# METADATA
# title: Its vulnerabilities were looked for lately
# description: The scanner stated which vulnerabilities the image has, not longer ago than the policy's scanAge, and looked at all of it.
# custom:
#   id: scan
#   start: shows
package imx.policy.scan

stated := input.evidence.scan

# A scanner's clock that is ahead makes no scan younger than its entry on the log.
at_ns := min({time.parse_rfc3339_ns(stated.made), time.parse_rfc3339_ns(stated.facts.finished)})

age_ns := time.parse_rfc3339_ns(input.now) - at_ns

most_ns := time.parse_duration_ns(data.settings.scanAge)

missed := object.get(stated.facts, "incomplete", [])

met if {
	stated.counts
	age_ns < most_ns
	count(missed) == 0
}

evidence contains stated.statement if stated.counts

until := at_ns + most_ns if met

span(ns) := sprintf("%d h", [floor(ns / 3600000000000)]) if ns >= 2 * 3600000000000

else := sprintf("%d min", [floor(ns / 60000000000)]) if ns >= 2 * 60000000000

else := sprintf("%d s", [floor(ns / 1000000000)])

says := sprintf("%s, %s ago", [stated.summary, span(age_ns)]) if met

else := "nobody looked for its vulnerabilities" if not stated

else := sprintf("the scan doesn't count: %s", [stated.why]) if not stated.counts

else := sprintf("the scan couldn't look at all of the image: %s", [concat("; ", missed)]) if count(missed) > 0

else := sprintf("the scan is %s old, and may be %s", [span(age_ns), span(most_ns)])

hint := sprintf("imx scan %s --keep", [input.image.name]) if not met
