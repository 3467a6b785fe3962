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

# What states a type anew.
anew := {
	"check": "imx build", "cyclonedx": "imx build", "provenance": "imx build", "scan": sprintf("imx scan %s --keep", [input.image.name]),
	"spdx": "imx build", "test": "imx test", "vex": "imx vex",
}

ways contains object.get(anew, name, "imx build") if {
	some name, e in input.evidence
	not e.counts
}

ways contains "imx build" if count(input.evidence) == 0

hint := sprintf("with the release's template, %s states it anew (imx apply does it for what runs); imx key list shows whose word counts", [concat(", ", sort(ways))]) if not met
