"""Reads a published database for ever, a line of JSON a round.

reader.py HOW PATH SQL      HOW: fresh | kept | plain | idle
"""
import json, sqlite3, sys, time

how, path, sql = sys.argv[1:]


def connect():
    if how == "plain":
        return sqlite3.connect(path, timeout=5, isolation_level=None)
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5, isolation_level=None)


def tell(text):
    print(text, flush=True)


def fresh():
    db = connect()
    try:
        tell(db.execute(sql).fetchone()[0])
    finally:
        db.close()


def kept(db, state):
    version = db.execute("PRAGMA data_version").fetchone()[0]
    if version != state.get("version"):
        state["version"] = version
        state["seen"] = db.execute(sql).fetchone()[0]
    tell(state["seen"])


db, state = None, {}
while True:
    try:
        if how in ("kept", "idle") and db is None:
            db = connect()
            if how == "idle":
                db.execute("BEGIN")
        if how == "kept":
            kept(db, state)
        elif how == "idle":
            tell(db.execute(sql).fetchone()[0])
        else:
            fresh()
    except sqlite3.Error as error:
        tell(json.dumps({"error": f"{getattr(error, 'sqlite_errorname', '')}: {error}"}))
    time.sleep(0.1 if how == "idle" else 0.005)
