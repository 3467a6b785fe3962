# METADATA
# title: It is known how the image came to be
# description: The builder of this server stated that it made the image from this very plan of it, and from which template.
# custom:
#   id: provenance
#   start: refuses
package imx.policy.provenance

builder := "urn:imx:builder:v1"

stated := input.evidence.provenance

met if {
	stated.counts
	stated.facts.builder == builder
	stated.facts.imagePlan == input.image.plan
}

evidence contains stated.statement if met

says := sprintf("built by the builder of imx %s; template: %s", [stated.facts.version, stated.facts.source]) if met

else := "nobody stated how the image came to be" if not stated

else := sprintf("the statement doesn't count: %s", [stated.why]) if not stated.counts

else := sprintf("it was built by %s, and not by %s", [stated.facts.builder, builder]) if stated.facts.builder != builder

else := sprintf("it is of the image plan %s, and not of %s", [stated.facts.imagePlan, input.image.plan])

hint := "imx build makes the image again, and states how" if not met
