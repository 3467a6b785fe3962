# METADATA
# title: An administration or database port that is open to everybody
# description: >-
#   A security group lets 0.0.0.0/0 or ::/0 reach a port of SSH, RDP or a database.
# custom:
#   id: cloud-open-admin-port
#   severity: critical
#   why: >-
#     Such ports are found by scans within minutes, and their passwords are tried from then on without end.
#   fix: >-
#     Name the networks that may come in, or reach the machine through a session manager or a VPN.
package imx.cloud.cloud_open_admin_port

import data.imx.cloud.lib

ports := {22: "ssh", 3389: "rdp", 1433: "mssql", 1521: "oracle", 3306: "mysql", 5432: "postgresql", 6379: "redis", 9200: "elasticsearch", 27017: "mongodb"}

inlets contains {"at": [r.i, "ingress", j], "name": r.name, "from": e.from_port, "to": e.to_port, "protocol": object.get(e, "protocol", "tcp"), "open": addresses(e)} if {
	some r in lib.resource("aws_security_group", "")
	some j, e in r.values.ingress
}

inlets contains {"at": [r.i], "name": r.name, "from": r.values.from_port, "to": r.values.to_port, "protocol": object.get(r.values, "protocol", "tcp"), "open": addresses(r.values)} if {
	some r in lib.resource("aws_security_group_rule", "")
	r.values.type == "ingress"
}

inlets contains {"at": [r.i], "name": r.name, "from": r.values.from_port, "to": r.values.to_port, "protocol": object.get(r.values, "ip_protocol", "tcp"), "open": addresses(r.values)} if {
	some r in lib.resource("aws_vpc_security_group_ingress_rule", "")
}

inlets contains {"at": [r.i, "SecurityGroupIngress", j], "name": r.name, "from": e.FromPort, "to": e.ToPort, "protocol": object.get(e, "IpProtocol", "tcp"), "open": addresses(e)} if {
	some r in lib.resource("", "AWS::EC2::SecurityGroup")
	some j, e in r.values.SecurityGroupIngress
}

inlets contains {"at": [r.i], "name": r.name, "from": r.values.FromPort, "to": r.values.ToPort, "protocol": object.get(r.values, "IpProtocol", "tcp"), "open": addresses(r.values)} if {
	some r in lib.resource("", "AWS::EC2::SecurityGroupIngress")
}

addresses(e) := [a |
	some key in ["cidr_blocks", "ipv6_cidr_blocks", "cidr_ipv4", "cidr_ipv6", "CidrIp", "CidrIpv6"]
	some a in lib.as_list(object.get(e, key, []))
]

deny contains {"at": inlet.at, "message": message} if {
	some inlet in inlets
	some address in inlet.open
	lib.anywhere(address)
	not inlet.protocol in {"icmp", "icmpv6", "udp"}
	some port, name in ports
	to_number(inlet.from) <= port
	to_number(inlet.to) >= port
	message := sprintf("%s lets %s reach port %d (%s)", [inlet.name, address, port, name])
}

deny contains {"at": inlet.at, "message": message} if {
	some inlet in inlets
	some address in inlet.open
	lib.anywhere(address)
	sprintf("%v", [inlet.protocol]) in {"-1", "all"}
	message := sprintf("%s lets %s reach every port", [inlet.name, address])
}
