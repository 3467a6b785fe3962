# METADATA
# title: No critical vulnerability has a fix that the image lacks
# description: >-
#   The newest scan names no critical vulnerability that a fixed version is known for, but those which a statement (imx vex, a feed of
#   OpenVEX documents) says don't affect the image. Where nobody looked, nobody knows: that refuses, but where the policy only warns of
#   the condition `scan`.
# custom:
#   id: vulnerabilities
#   start: shows
package imx.policy.vulnerabilities

stated := input.evidence.scan

found contains v.id if {
	stated.counts
	some v in stated.facts.vulnerabilities
	v.severity == "critical"
	v.fixed != ""
	not v.excused
}

met if {
	stated.counts
	count(found) == 0
}

# Whether somebody must have looked, the policy says by what it makes of the condition scan.
warns if {
	not stated.counts
	"scan" in data.settings.warn
}

evidence contains stated.statement if stated.counts

says := "nobody looked for any" if not stated

else := sprintf("the scan doesn't count: %s", [stated.why]) if not stated.counts

else := "none is critical and has a fix" if met

else := sprintf("%d critical with a fix: %s%s", [count(found), concat(", ", array.slice(sort(found), 0, 5)), more])

more := ", ..." if count(found) > 5

else := ""

hint := sprintf("imx scan %s --keep", [input.image.name]) if not stated.counts

else := sprintf("imx scan %s shows the fixed versions, and the command that brings them; imx vex says why one doesn't matter", [input.image.name]) if not met
