-- abaxus: scope mode
-- The audit log by what was done, by whom and to what kind of object, newest first.

CREATE INDEX audit_log_of_action ON audit_log (action, audit_no);
CREATE INDEX audit_log_of_actor ON audit_log (actor, audit_no);
CREATE INDEX audit_log_of_type ON audit_log (object_type, audit_no);
