# METADATA
# title: A service with a port has no health check
# description: A service has ports and no `health` with `http` or `tcp`.
# custom:
#   id: missing-health
#   severity: low
#   why: >-
#     imx then only asks whether the first port accepts connections. Many programs accept them long before they can
#     answer, and long after they no longer can: traffic goes there, and a broken release counts as good.
#   fix: >-
#     Write `health` with `http` and a path that answers only when the program works, or `tcp` to say that accepting
#     connections is all there is to ask.
package imx.rules.missing_health

deny contains {"at": ["service", service.name, "health"], "message": message} if {
	some service in input.services
	service.health.inferred
	message := sprintf("service.%s has no health check: imx only asks whether its port %s accepts connections", [service.name, service.health.tcp.port])
}
