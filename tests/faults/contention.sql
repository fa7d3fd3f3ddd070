-- What a server under contention does to transactions, in whatever the gateways write themselves, while there is
-- a row in `contention`. A sequence is not rolled back: an attempt that was ended goes on counting where it was.
CREATE SEQUENCE statements;
CREATE SEQUENCE commits;

CREATE FUNCTION raise_now() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE n BIGINT := nextval('statements');
BEGIN
    IF NOT EXISTS (SELECT FROM contention) THEN RETURN NULL; END IF;
    IF n % 127 = 0 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40001'; END IF;
    IF n % 211 = 0 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40P01'; END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION raise_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE n BIGINT := nextval('commits');
BEGIN
    IF NOT EXISTS (SELECT FROM contention) THEN RETURN NULL; END IF;
    IF n % 7 = 0 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40001'; END IF;
    IF n % 11 = 0 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40P01'; END IF;
    RETURN NULL;
END $$;

DO $$
DECLARE one TEXT;
BEGIN
    -- As the gateways do: first what they all wait at, so that nobody waits in a ring.
    IF to_regclass('log_heads') IS NOT NULL THEN PERFORM FROM log_heads ORDER BY log FOR UPDATE; END IF;
    IF to_regclass('ring') IS NOT NULL THEN LOCK TABLE ring; END IF;
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations' LOOP
        EXECUTE format('CREATE TRIGGER raise_now BEFORE INSERT OR UPDATE OR DELETE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION raise_now()', one);
        -- Rows of which no transaction writes more than two: one that wrote seven would never commit.
        IF one IN ('log_heads', 'ring') THEN
            EXECUTE format('CREATE CONSTRAINT TRIGGER raise_at_commit AFTER INSERT OR UPDATE ON %I
                            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION raise_at_commit()', one);
        END IF;
    END LOOP;
END $$;

CREATE TABLE contention (on_now BOOLEAN);
