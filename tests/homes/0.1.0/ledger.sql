BEGIN TRANSACTION;
CREATE TABLE events (
	recipe VARCHAR(100) NOT NULL, 
	seq INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	kind VARCHAR(40) NOT NULL, 
	who VARCHAR(200) NOT NULL, 
	format INTEGER NOT NULL, 
	body JSON NOT NULL, 
	PRIMARY KEY (recipe, seq)
);
INSERT INTO "events" VALUES('small-fashion',1,1.79585229750046515466e+09,'requested','retrain-and-release',1,'{"package": {"recipe": "small-fashion", "version": "1", "key": "62e30ff99ec2f76f59be56cd7d352a92392ec55de8d2374bf6f693ebe6cdd8ae", "tag": "small-fashion:v1-62e30ff99ec2", "digest": "f2f8d49e6e6adf1b7a29f044854b79e4a900ab77ecbf478613fd753afb5c77b3", "artifact": "1/models/m-374400a79edf42ecad93ba044460ec2c/artifacts/small-fashion-v1-62e30ff99ec2.bento", "memory_mb": 1024}, "kind": "release", "why": "blessed candidate 1", "by_hand": false, "hosts": ["vm"], "plan": {"steps": [{"weight": 0, "mirror": 0}, {"weight": 0, "mirror": 20}, {"weight": 50, "mirror": 0}], "step_seconds": 120.0, "bake_seconds": 8.0, "bake_mirror": 10, "max_surge": 2, "false_alarm": 0.01, "failed": {"tolerance": 0.0, "margin": 0.03}, "refused": {"tolerance": 0.02, "margin": 0.1}, "latency_p50": {"tolerance": 0.15, "margin": 0.4}, "latency_p99": {"tolerance": 0.05, "margin": 0.15}, "disagreed": {"tolerance": 0.5, "margin": 0.5}, "wrong": {"tolerance": 0.0, "margin": 0.05}, "unhealthy": 0.2}, "warm_seconds": 300.0, "shift_seconds": 30.0}');
INSERT INTO "events" VALUES('small-fashion',2,1.79585229787160801893e+09,'synced','controller',1,'{"aliases": [null, "1", null], "outcomes": 0}');
INSERT INTO "events" VALUES('small-fashion',3,1.79585230835688829421e+09,'healthy','controller',1,'{"attempt": 1, "hosts": {"vm": 1795852301.43}}');
INSERT INTO "events" VALUES('small-fashion',4,1.79585230946127486235e+09,'promoted','controller',1,'{"attempt": 1, "version": "1"}');
INSERT INTO "events" VALUES('small-fashion',5,1.79585231034334683423e+09,'synced','controller',1,'{"aliases": ["1", null, null], "outcomes": 1}');
CREATE TABLE labels (
	recipe VARCHAR(100) NOT NULL, 
	request VARCHAR(100) NOT NULL, 
	at FLOAT NOT NULL, 
	label INTEGER NOT NULL, 
	PRIMARY KEY (recipe, request)
);
CREATE TABLE leases (
	name VARCHAR(100) NOT NULL, 
	holder VARCHAR(200) NOT NULL, 
	expires FLOAT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "leases" VALUES('controller','vm:/tmp/pytest-of-root/pytest-11/popen-gw1/stack0/a home',1.79585277282494688031e+09);
CREATE TABLE statuses (
	name VARCHAR(100) NOT NULL, 
	at FLOAT NOT NULL, 
	body JSON NOT NULL, 
	PRIMARY KEY (name)
);
CREATE INDEX labels_at ON labels (recipe, at);
COMMIT;
