// iovalkey: pipelines, transactions, defineCommand, keyPrefix, databases, pub/sub, scanStream.
import Redis from "iovalkey";
import { session } from "./ioredis_session.mjs";

await session(Redis);
