# METADATA
# title: It is known what the image is made of
# description: The builder stated what is in the image, in both forms of the field (SPDX and CycloneDX).
# custom:
#   id: sbom
#   start: refuses
package imx.policy.sbom

wanted := {"spdx", "cyclonedx"}

met if count(lacking) == 0

lacking contains sprintf("there is no %s document", [name]) if {
	some name in wanted
	not input.evidence[name]
}

lacking contains sprintf("the %s document doesn't count: %s", [name, input.evidence[name].why]) if {
	some name in wanted
	not input.evidence[name].counts
}

evidence contains input.evidence[name].statement if {
	some name in wanted
	input.evidence[name].counts
}

says := input.evidence.spdx.summary if met

else := concat("; ", sort(lacking))

hint := "imx build makes the image again, and states what is in it" if not met
