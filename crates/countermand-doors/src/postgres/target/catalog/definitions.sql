SELECT w.classid, w.objid, w.objsubid, pg_catalog.jsonb_build_object(
  'object', pg_catalog.jsonb_build_array(w.classid, w.objid, w.objsubid),
  'identity', i.identity,
  'comment', pg_catalog.obj_description(w.objid, w.classid::pg_catalog.regclass::pg_catalog.name),
  'definition', CASE w.classid

  WHEN 1259 THEN (SELECT pg_catalog.jsonb_build_object(
    'kind', c.relkind, 'persistence', c.relpersistence, 'owner', c.relowner::pg_catalog.regrole::pg_catalog.text,
    'acl', c.relacl::pg_catalog.text, 'options', c.reloptions, 'security', c.relrowsecurity,
    'forced', c.relforcerowsecurity, 'replica', c.relreplident, 'tablespace', c.reltablespace,
    'bound', pg_catalog.pg_get_expr(c.relpartbound, c.oid),
    'partitioned', CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
    'view', CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) END,
    'index', CASE WHEN c.relkind IN ('i', 'I') THEN pg_catalog.pg_get_indexdef(c.oid) END,
    'parents', (SELECT pg_catalog.jsonb_agg(h.inhparent ORDER BY h.inhseqno)
      FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid),
    'sequence', (SELECT pg_catalog.to_jsonb(s) - 'seqrelid' FROM pg_catalog.pg_sequence s WHERE s.seqrelid = c.oid),
    'columns', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
        a.attnum, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
        a.attgenerated, a.attcollation, a.attstorage, a.attacl::pg_catalog.text, a.attoptions,
        pg_catalog.pg_get_expr(d.adbin, d.adrelid), pg_catalog.col_description(a.attrelid, a.attnum)) ORDER BY a.attnum)
      FROM pg_catalog.pg_attribute a
      LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND (w.objsubid = 0 OR a.attnum = w.objsubid)),
    'constraints', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
        k.conname, pg_catalog.pg_get_constraintdef(k.oid), k.convalidated) ORDER BY k.conname)
      FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid),
    'indexes', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
        pg_catalog.pg_get_indexdef(x.indexrelid), x.indisvalid, x.indisclustered, x.indisreplident)
        ORDER BY pg_catalog.pg_get_indexdef(x.indexrelid))
      FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid),
    'triggers', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
        pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled,
        pg_catalog.md5((SELECT p.prosrc FROM pg_catalog.pg_proc p WHERE p.oid = t.tgfoid))) ORDER BY t.tgname)
      FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal),
    'rules', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
        pg_catalog.pg_get_ruledef(r.oid), r.ev_enabled) ORDER BY r.rulename)
      FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN'),
    'policies', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
        p.polname, p.polcmd, p.polpermissive, p.polroles, pg_catalog.pg_get_expr(p.polqual, p.polrelid),
        pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) ORDER BY p.polname)
      FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid))
    FROM pg_catalog.pg_class c WHERE c.oid = w.objid)

  WHEN 1255 THEN (SELECT pg_catalog.jsonb_build_object(
    'owner', p.proowner::pg_catalog.regrole::pg_catalog.text, 'acl', p.proacl::pg_catalog.text,
    'source', CASE WHEN p.prokind = 'a'
      THEN (SELECT pg_catalog.to_jsonb(g)::pg_catalog.text FROM pg_catalog.pg_aggregate g WHERE g.aggfnoid = p.oid)
      ELSE pg_catalog.pg_get_functiondef(p.oid) END)
    FROM pg_catalog.pg_proc p WHERE p.oid = w.objid)

  WHEN 1247 THEN (SELECT pg_catalog.jsonb_build_object(
    'owner', t.typowner::pg_catalog.regrole::pg_catalog.text, 'acl', t.typacl::pg_catalog.text, 'kind', t.typtype,
    'base', pg_catalog.format_type(NULLIF(t.typbasetype, 0), t.typtypmod), 'default', t.typdefault, 'not null', t.typnotnull,
    'labels', (SELECT pg_catalog.jsonb_agg(e.enumlabel ORDER BY e.enumsortorder)
      FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
    'columns', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
        a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped),
    'constraints', (SELECT pg_catalog.jsonb_agg(pg_catalog.pg_get_constraintdef(k.oid) ORDER BY k.conname)
      FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid))
    FROM pg_catalog.pg_type t WHERE t.oid = w.objid)

  WHEN 2615 THEN (SELECT pg_catalog.jsonb_build_object(
    'owner', n.nspowner::pg_catalog.regrole::pg_catalog.text, 'acl', n.nspacl::pg_catalog.text)
    FROM pg_catalog.pg_namespace n WHERE n.oid = w.objid)

  WHEN 2606 THEN (SELECT pg_catalog.jsonb_build_array(pg_catalog.pg_get_constraintdef(k.oid), k.convalidated)
    FROM pg_catalog.pg_constraint k WHERE k.oid = w.objid)

  WHEN 2604 THEN (SELECT pg_catalog.to_jsonb(pg_catalog.pg_get_expr(d.adbin, d.adrelid))
    FROM pg_catalog.pg_attrdef d WHERE d.oid = w.objid)

  WHEN 2618 THEN (SELECT pg_catalog.jsonb_build_array(pg_catalog.pg_get_ruledef(r.oid), r.ev_enabled)
    FROM pg_catalog.pg_rewrite r WHERE r.oid = w.objid)

  WHEN 2620 THEN (SELECT pg_catalog.jsonb_build_array(pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled)
    FROM pg_catalog.pg_trigger t WHERE t.oid = w.objid)

  WHEN 3256 THEN (SELECT pg_catalog.jsonb_build_array(p.polcmd, p.polpermissive, p.polroles,
      pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
    FROM pg_catalog.pg_policy p WHERE p.oid = w.objid)

  END)::pg_catalog.text
FROM walk w CROSS JOIN LATERAL pg_catalog.pg_identify_object(w.classid, w.objid, w.objsubid) i
