package uapi

// Types of messages of NETLINK_AUDIT.
const (
	AuditGet        = 1000
	AuditSet        = 1001
	AuditUser       = 1005
	AuditSignalInfo = 1010
	AuditListRules  = 1013
	AuditSetFeature = 1018
	AuditGetFeature = 1019
)

// AuditTypes name the types of messages of NETLINK_AUDIT.
var AuditTypes = Names{{AuditGet, "AUDIT_GET"}, {AuditSet, "AUDIT_SET"}, {AuditUser, "AUDIT_USER"},
	{AuditSignalInfo, "AUDIT_SIGNAL_INFO"}, {AuditListRules, "AUDIT_LIST_RULES"}, {AuditSetFeature, "AUDIT_SET_FEATURE"},
	{AuditGetFeature, "AUDIT_GET_FEATURE"}}

// AuditStatusLen is the size of struct audit_status in the oldest kernels: a mask of what counts, enabled, failure, pid,
// rate_limit, backlog_limit, lost and backlog. Later ones have more behind that.
const AuditStatusLen = 32
