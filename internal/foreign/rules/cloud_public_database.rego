# METADATA
# title: A database with a public address
# description: >-
#   An RDS instance is declared as publicly accessible.
# custom:
#   id: cloud-public-database
#   severity: critical
#   why: >-
#     It answers the whole internet, and only its password stands between that and the data.
#   fix: >-
#     Leave it private, and reach it from within its network.
package imx.cloud.cloud_public_database

import data.imx.cloud.lib

deny contains {"at": [r.i, "publicly_accessible"], "message": message} if {
	some r in lib.resource("aws_db_instance", "")
	lib.on(r.values.publicly_accessible)
	message := sprintf("the database %s has a public address", [r.name])
}

deny contains {"at": [r.i, "PubliclyAccessible"], "message": message} if {
	some r in lib.resource("", "AWS::RDS::DBInstance")
	lib.on(r.values.PubliclyAccessible)
	message := sprintf("the database %s has a public address", [r.name])
}
