# METADATA
# title: A public port without TLS
# description: >-
#   A port is published on the machine's addresses, and neither its name ("https", "tls", "ssl", "redis-tls") nor
#   its number says that it speaks TLS. imx can't see what a program speaks: what decides is what the template says.
# custom:
#   id: public-port-without-tls
#   severity: medium
#   why: >-
#     Passwords, cookies and content can be read and changed by everybody on the way.
#   fix: >-
#     Have the program speak TLS and call the port by it (`port "https"`). Where a balancer in front ends TLS, or
#     the protocol has encryption of its own, say so in a waiver.
package imx.rules.public_port_without_tls

# Ports that IANA lists for protocols over TLS, and SSH: https://www.iana.org/assignments/service-names-port-numbers
encrypted := {22, 443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 2376, 3269, 4433, 5061, 5349, 5671, 5986, 6443, 6514, 8443, 8883, 9443}

deny contains {"at": ["service", service.name, "port", port.name, "publish"], "message": message} if {
	some service in input.services
	some port in service.ports
	port.publish
	not port.publish in encrypted
	not port.container in encrypted
	not regex.match(`https|tls|ssl|ssh|quic`, port.name)
	message := sprintf("port %s of service.%s is public as %d and says nothing of TLS", [port.name, service.name, port.publish])
}
