// ioredis: pipelines, transactions, defineCommand, keyPrefix, databases, pub/sub, scanStream.
import Redis from "ioredis";
import { session } from "./ioredis_session.mjs";

await session(Redis);
