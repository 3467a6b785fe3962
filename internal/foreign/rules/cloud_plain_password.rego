# METADATA
# title: A password in plain text
# description: >-
#   A password of a database is written in the file, or is the default of a parameter.
# custom:
#   id: cloud-plain-password
#   severity: critical
#   why: >-
#     Whoever can read the file or its history has the password.
#   fix: >-
#     Take it from a secret store: manage_master_user_password, a data source, or {{resolve:secretsmanager:...}}.
package imx.cloud.cloud_plain_password

import data.imx.cloud.lib

deny contains {"at": [r.i, key], "message": message} if {
	some i, r0 in input.resources
	r0.mode == "resource"
	r := {"i": i, "name": r0.name, "values": r0.values}
	some key in ["password", "master_password", "admin_password", "MasterUserPassword", "AdminPassword"]
	lib.literal(r.values[key])
	message := sprintf("%s of %s is written in plain text", [key, r.name])
}

deny contains {"at": [sprintf("parameter%d", [i]), "Default"], "message": message} if {
	some i, p in input.parameters
	regex.match("(?i)password|secret|token", p.name)
	lib.literal(p.values.Default)
	message := sprintf("the parameter %s has a default that everybody knows", [p.name])
}
