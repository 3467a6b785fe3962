# METADATA
# title: A machine with a public address
# description: >-
#   An EC2 instance is declared with a public address of its own.
# custom:
#   id: cloud-public-instance
#   severity: medium
#   why: >-
#     Whatever listens on it is reached from everywhere as far as its security groups let it.
#   fix: >-
#     Put it behind a load balancer in a private network.
package imx.cloud.cloud_public_instance

import data.imx.cloud.lib

deny contains {"at": [r.i, "associate_public_ip_address"], "message": message} if {
	some r in lib.resource("aws_instance", "")
	lib.on(r.values.associate_public_ip_address)
	message := sprintf("the machine %s has a public address", [r.name])
}

deny contains {"at": [r.i, "NetworkInterfaces", j, "AssociatePublicIpAddress"], "message": message} if {
	some r in lib.resource("", "AWS::EC2::Instance")
	some j, n in r.values.NetworkInterfaces
	lib.on(n.AssociatePublicIpAddress)
	message := sprintf("the machine %s has a public address", [r.name])
}
