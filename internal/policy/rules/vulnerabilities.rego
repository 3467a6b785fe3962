# METADATA
# title: No critical vulnerability has a fix that the image lacks
# description: >-
#   The newest scan names no critical vulnerability that a fixed version is known for, but those which a statement (imx vex, a feed of
#   OpenVEX documents) says don't affect the image. Where no scan counts, the condition `scan` says so.
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

met if count(found) == 0

evidence contains stated.statement if stated.counts

says := "no scan names one" if not stated.counts

else := "none is critical and has a fix" if met

else := sprintf("%d critical with a fix: %s%s", [count(found), concat(", ", array.slice(sort(found), 0, 5)), more])

more := ", ..." if count(found) > 5

else := ""

hint := sprintf("imx scan %s shows the fixed versions, and the command that brings them; imx vex says why one doesn't matter", [input.image.name]) if not met
