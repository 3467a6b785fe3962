# METADATA
# title: A disk that is not encrypted
# description: >-
#   An EBS volume is declared without encryption.
# custom:
#   id: cloud-disk-unencrypted
#   severity: high
#   why: >-
#     Snapshots and disks that leave the machine can be read by whoever gets them.
#   fix: >-
#     Write encrypted = true (Encrypted in CloudFormation).
package imx.cloud.cloud_disk_unencrypted

import data.imx.cloud.lib

deny contains {"at": [r.i, "encrypted"], "message": message} if {
	some r in lib.resource("aws_ebs_volume", "")
	lib.off(r.values, "encrypted")
	message := sprintf("the volume %s is not encrypted", [r.name])
}

deny contains {"at": [r.i, "Encrypted"], "message": message} if {
	some r in lib.resource("", "AWS::EC2::Volume")
	lib.off(r.values, "Encrypted")
	message := sprintf("the volume %s is not encrypted", [r.name])
}
