# METADATA
# title: A service has limits that nobody chose
# description: One of `cpu`, `memory` and `pids` isn't written in `resources` of a service.
# custom:
#   id: missing-limits
#   severity: low
#   why: >-
#     imx never runs an instance without limits: what isn't written is one processor, 256 MiB and 256 processes.
#     For most programs that is too much, so that a defect takes it from others, or too little, so that they are
#     killed under load.
#   fix: >-
#     Write all three. `imx ps` and a test under load show what the program needs.
package imx.rules.missing_limits

deny contains {"at": ["service", service.name, "resources"], "message": message} if {
	some service in input.services
	missing := [limit |
		some limit in ["cpu", "memory", "pids"]
		not input.written.service[service.name].resources[limit]
	]
	count(missing) > 0
	message := sprintf("service.%s doesn't say its %s", [service.name, concat(", ", missing)])
}
