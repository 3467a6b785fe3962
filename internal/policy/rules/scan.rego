# METADATA
# title: Its vulnerabilities were looked for lately
# description: The scanner stated which vulnerabilities the image has, not longer ago than the policy's scanAge, and looked at all of it.
# custom:
#   id: scan
#   start: shows
package imx.policy.scan

stated := input.evidence.scan

# A scanner's clock that is ahead makes no scan younger than its entry on the log.
at := min({time.parse_rfc3339_ns(stated.made), time.parse_rfc3339_ns(stated.facts.finished)})

age := time.parse_rfc3339_ns(input.now) - at

most := time.parse_duration_ns(data.settings.scanAge)

missed := object.get(stated.facts, "incomplete", [])

met if {
	stated.counts
	age < most
	count(missed) == 0
}

evidence contains stated.statement if stated.counts

until := at + most if met

hours(ns) := sprintf("%d h", [floor(ns / 3600000000000)])

says := sprintf("%s, %s ago", [stated.summary, hours(age)]) if met

else := "nobody looked for its vulnerabilities" if not stated

else := sprintf("the scan doesn't count: %s", [stated.why]) if not stated.counts

else := sprintf("the scan couldn't look at all of the image: %s", [concat("; ", missed)]) if count(missed) > 0

else := sprintf("the scan is %s old, and may be %s", [hours(age), hours(most)])

hint := sprintf("imx scan %s --keep", [input.image.name]) if not met
