# METADATA
# title: It is known how the image came to be
# description: The builder of this server, or of a known upstream, stated that it made the image from this very plan of it, and from which template.
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

# How the builder that states it came by the bytes.
bytes := stated.facts.bytes.how

how := "found as an earlier build made it" if bytes == "found"

else := "built anew, with the same bytes" if bytes == "compared"

else := "built"

commit := object.get(input.plan.source, "commit", "")

# Another server's word on it counts where that one is known as an upstream.
there := sprintf(" in %s", [stated.environment]) if stated.environment

else := ""

# One image can come of many commits, so it isn't held against the builder that it was built from another.
another if object.get(stated.facts, "commit", "") != commit

another if object.get(stated.facts, "dirty", false) != object.get(input.plan.source, "dirty", false)

release := "; this release's, with changes, gives the same image" if {
	another
	input.plan.source.dirty
}

else := sprintf("; this release's, %s, gives the same image", [substring(commit, 0, 12)]) if {
	another
	commit != ""
}

else := "; this release's, not in Git, gives the same image" if another

else := ""

says := sprintf("%s by the builder of imx %s%s; template: %s%s", [how, stated.facts.version, there, stated.facts.source, release]) if met

else := "nobody stated how the image came to be" if not stated

else := sprintf("the statement doesn't count: %s", [stated.why]) if not stated.counts

else := sprintf("it was built by %s, and not by %s", [stated.facts.builder, builder]) if stated.facts.builder != builder

else := sprintf("it is of the image plan %s, and not of %s", [stated.facts.imagePlan, input.image.plan])

hint := "imx build makes the image again of its packages, compares the bytes, and states how; imx apply does it for what runs" if not met
