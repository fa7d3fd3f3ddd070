-- What a server under contention does to transactions, in whatever the gateways write themselves.
-- A sequence is not rolled back: an attempt that was ended goes on counting where it was.
CREATE SEQUENCE statements;
CREATE SEQUENCE commits;

CREATE FUNCTION raise_now() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE n BIGINT := nextval('statements');
BEGIN
    IF n % 61 = 0 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40001'; END IF;
    IF n % 97 = 0 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40P01'; END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION raise_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE n BIGINT := nextval('commits');
BEGIN
    IF n % 7 = 0 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40001'; END IF;
    IF n % 11 = 0 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40P01'; END IF;
    RETURN NULL;
END $$;

DO $$
DECLARE one TEXT;
BEGIN
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations' LOOP
        EXECUTE format('CREATE TRIGGER raise_now BEFORE INSERT OR UPDATE OR DELETE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION raise_now()', one);
        -- Once for each commit, mostly: rows that a transaction writes one or two of.
        IF one IN ('log_heads', 'executions', 'ring') THEN
            EXECUTE format('CREATE CONSTRAINT TRIGGER raise_at_commit AFTER INSERT OR UPDATE ON %I
                            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION raise_at_commit()', one);
        END IF;
    END LOOP;
END $$;
