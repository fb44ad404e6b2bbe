// What drizzle-kit is told; the environment says where, and with which schema.
const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, SCHEMA } = process.env;

module.exports = {
  dialect: "postgresql",
  schema: `./${SCHEMA}.js`,
  out: "./out",
  // An empty schema is one without any of the tables that are there.
  tablesFilter: SCHEMA === "none" ? undefined : ["parcels"],
  dbCredentials: { host: PGHOST, port: Number(PGPORT), user: PGUSER, password: PGPASSWORD, database: PGDATABASE, ssl: false },
};
