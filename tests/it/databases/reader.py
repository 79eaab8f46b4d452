"""Reads a published database, or files, for ever, a line of JSON a round.

reader.py HOW PATH SQL [PAUSE]      HOW: fresh | kept | plain | idle | files
For files, PATH is their directory.
"""
import json, pathlib, sqlite3, sys, time

how, path, sql, *pause = sys.argv[1:]
pause = float(pause[0]) if pause else (0.1 if how == "idle" else 0.005)


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


def files():
    rows = []
    for name in sorted(pathlib.Path(path).glob("shop-*.json")):
        token = json.loads(name.read_bytes())
        generation = token["generation"]
        rows.append([token["name"], generation, token["access_token"], generation])
    tell(json.dumps(rows))


db, state = None, {}
while True:
    try:
        if how in ("kept", "idle") and db is None:
            db = connect()
            if how == "idle":
                db.execute("BEGIN")
        if how == "kept":
            kept(db, state)
        elif how == "files":
            files()
        elif how == "idle":
            tell(db.execute(sql).fetchone()[0])
        else:
            fresh()
    except (ValueError, KeyError) as error:
        tell(json.dumps({"error": f"torn: {error}"}))
    except sqlite3.Error as error:
        tell(json.dumps({"error": f"{getattr(error, 'sqlite_errorname', '')}: {error}"}))
    time.sleep(pause)
