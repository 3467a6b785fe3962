# METADATA
# title: All that is stated of the image is signed by whom it must be
# description: >-
#   Each statement about the image has the bytes that were kept, is about this image, and is signed by a key that has the role for what
#   it says, that was known and not ended at that time, and that isn't compromised.
# custom:
#   id: signed
#   firm: true
#   start: refuses
package imx.policy.signed

met if {
	count(input.evidence) > 0
	count(faults) == 0
}

faults contains sprintf("%s: %s", [name, e.why]) if {
	some name, e in input.evidence
	not e.counts
}

evidence contains e.statement if {
	some e in input.evidence
	e.counts
}

says := sprintf("%d statements, each signed by a key of its role", [count(evidence)]) if met

says := concat("; ", sort(faults)) if count(faults) > 0

says := "nothing is stated of the image" if count(input.evidence) == 0

hint := "build it again (imx build, imx apply): what is missing or doesn't count is stated anew; imx key list shows whose word counts" if not met
