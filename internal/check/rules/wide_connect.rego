# METADATA
# title: A service may reach every other one
# description: >-
#   `connect` of a service names all other services with ports, of which there are at least four. Open egress can't be asked
#   for: an instance reaches the ports in `connect` of its service, and nothing else inside or outside.
# custom:
#   id: wide-connect
#   severity: low
#   why: >-
#     Who breaks into this service reaches all others from there. Networks between services help as far as they
#     follow what each really needs.
#   fix: >-
#     Leave out what it doesn't call, or split it by what its parts call.
package imx.rules.wide_connect

deny contains {"at": ["service", service.name, "connect"], "message": message} if {
	some service in input.services
	others := {other.name |
		some other in input.services
		other.name != service.name
		count(other.ports) > 0
	}
	count(others) >= 4
	reached := {ref.service | some ref in service.connect}
	others == reached
	message := sprintf("service.%s connects to all %d other services", [service.name, count(others)])
}
