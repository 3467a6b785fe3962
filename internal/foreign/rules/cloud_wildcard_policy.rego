# METADATA
# title: A policy that allows everything
# description: >-
#   An IAM policy allows every action on every resource.
# custom:
#   id: cloud-wildcard-policy
#   severity: critical
#   why: >-
#     Whoever gets hold of one key that has it owns the whole account.
#   fix: >-
#     Name the actions and the resources that are needed.
package imx.cloud.cloud_wildcard_policy

import data.imx.cloud.lib

policies contains {"at": [r.i, key], "name": r.name, "statements": lib.as_list(r.values[key].Statement)} if {
	some kind in ["aws_iam_policy", "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy"]
	some r in lib.resource(kind, "")
	some key in ["policy"]
}

policies contains {"at": [r.i, "PolicyDocument"], "name": r.name, "statements": lib.as_list(r.values.PolicyDocument.Statement)} if {
	some kind in ["AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"]
	some r in lib.resource("", kind)
}

policies contains {"at": [r.i, "Policies", j], "name": r.name, "statements": lib.as_list(p.PolicyDocument.Statement)} if {
	some kind in ["AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::Group"]
	some r in lib.resource("", kind)
	some j, p in r.values.Policies
}

deny contains {"at": policy.at, "message": message} if {
	some policy in policies
	some s in policy.statements
	s.Effect == "Allow"
	some action in lib.as_list(s.Action)
	action in {"*", "*:*"}
	some resource in lib.as_list(s.Resource)
	resource == "*"
	message := sprintf("the policy of %s allows every action on every resource", [policy.name])
}

deny contains {"at": [i, "statement", j], "message": message} if {
	some i, r in input.resources
	r.mode == "data"
	r.type == "aws_iam_policy_document"
	some j, s in r.values.statement
	object.get(s, "effect", "Allow") == "Allow"
	"*" in lib.as_list(s.actions)
	"*" in lib.as_list(s.resources)
	message := sprintf("the policy document %s allows every action on every resource", [r.name])
}
