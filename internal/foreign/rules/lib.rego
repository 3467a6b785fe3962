package imx.cloud.lib

# resource has the resources of a type in Terraform's words, and of one in CloudFormation's, with their number.
resource(terraform, cloudformation) := [{"i": i, "name": r.name, "language": r.language, "values": r.values} |
	some i, r in input.resources
	r.mode == "resource"
	r.type in {terraform, cloudformation}
]

# on holds for a setting that is switched on; off for one that is switched off or isn't there. What is worked out
# later ("${...}") is neither.
on(value) if value in {true, "true", "True"}

off(values, name) if not values[name]

off(values, name) if values[name] in {"false", "False"}

# literal holds for text that isn't worked out later.
literal(value) if {
	is_string(value)
	value != ""
	not contains(value, "${")
	not contains(value, "{{resolve:")
}

as_list(value) := value if is_array(value)

as_list(value) := [value] if not is_array(value)

anywhere(address) if address in {"0.0.0.0/0", "::/0"}

# title is how a finding names a resource.
title(r) := sprintf("%s", [r.name])
