"""Mede o servidor em outro processo e o compara com um relay mínimo: `python docs/desempenho.py`.

Nada aqui passa ou falha. O que se mediu está em `desempenho.md`. Quem gera a carga é uma thread só, que
troca linhas de tamanho fixo e não as interpreta: o que se mede é o servidor.
"""

import argparse
import contextlib
import itertools
import os
import queue
import re
import selectors
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

RAIZ = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(RAIZ))

from atendimento.maquina import permitir_descritores  # noqa: E402
from atendimento.opcoes import Analisador, inteiro, segundos  # noqa: E402

TAMANHO = 64
"""Bytes de uma linha de texto no fio, com o prefixo e o `\\n`: entra e sai do servidor igual. A de JSON diz o mesmo."""

INUNDACAO = 300_000
"""Linhas de uma inundação."""

FORMADOS = 20
"""Pares formados, um depois do outro, com gente na fila."""

REPOUSO = 10.0
"""Segundos de silêncio em que se mede o que gasta quem só espera."""


# --- Os servidores que se medem -------------------------------------------------------------------


class RelayMinimo(socketserver.BaseRequestHandler):
    """O menos que uma thread por conexão pode fazer: une dois sockets e copia bytes de um ao outro.

    Sem fila de clientes, sem linhas, sem limpeza, sem prazos e sem trava: é o chão, e não um exemplo.
    """

    livres: queue.SimpleQueue = queue.SimpleQueue()  # (socket do atendente, por onde lhe dar o par)

    def handle(self) -> None:
        quem, entrada, o_par = self.request, b"", queue.SimpleQueue()
        quem.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while entrada.count(b"\n") < 2:
            entrada += quem.recv(1024)
        if entrada.startswith(b"ATENDENTE"):
            quem.sendall(b"NOME:\nFILA:OK\n")
            self.livres.put((quem, o_par))
            par = o_par.get()
        else:
            par, entregar = self.livres.get()
            entregar.put(quem)
        quem.sendall(b"CONECTADO:par\n")
        with contextlib.suppress(OSError):
            while dados := quem.recv(65536):
                par.sendall(dados)


class ServidorMinimo(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024


def variantes(pasta: str) -> dict[str, list[str]]:
    """O comando de cada servidor que se mede; prender a um núcleo e SCHED_BATCH, só no Linux. Grava-se na pasta."""
    servidor = [sys.executable, "servidor.py", "--host", "127.0.0.1", "--porta", "0", "--max-conexoes", "10000"]
    servidor += ["--ritmo", "0"]  # quem mede manda o mais rápido que pode
    espalhado, relay = [*servidor, "--varios-nucleos"], [sys.executable, __file__, "--relay"]
    gravando = [*servidor, "--registro", os.path.join(pasta, "conversas.csv")]
    comandos = {"servidor": servidor, "servidor, JSON": servidor, "servidor, --registro": gravando}
    comandos["servidor, vários núcleos"] = espalhado
    if shutil.which("taskset") and shutil.which("chrt"):
        lote = ["chrt", "--batch", "0"]
        preso = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
        comandos["vários núcleos, SCHED_BATCH"] = lote + espalhado
        comandos["preso a um núcleo"] = preso + espalhado
        comandos["relay mínimo, um núcleo"] = preso + lote + relay
    return comandos | {"relay mínimo": relay}


@contextlib.contextmanager
def no_ar(comando: list[str]) -> Iterator[tuple[int, int]]:
    """Sobe um servidor; dá a porta e o número do processo, e o encerra no fim."""
    with subprocess.Popen(comando, cwd=RAIZ, stdout=subprocess.PIPE) as processo:
        try:
            porta = next(int(achou[1]) for linha in processo.stdout if (achou := re.search(rb"porta (\d+)", linha)))
            # O log não pode parar por falta de quem o leia: guardado na fila, contaria como memória.
            threading.Thread(target=lambda: sum(map(len, processo.stdout)), daemon=True).start()
            yield porta, processo.pid
        finally:
            processo.terminate()
            try:
                processo.wait(10)
            except subprocess.TimeoutExpired:
                processo.kill()


# --- O que o sistema sabe do processo (Linux) -----------------------------------------------------


def memoria(pid: int) -> float:
    """KiB residentes."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def cpu(pid: int) -> float:
    """Segundos de CPU gastos até agora, por todas as threads."""
    campos = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(campos[11]) + int(campos[12])) / os.sysconf("SC_CLK_TCK")


def trocas(pid: int) -> int:
    """Trocas de contexto até agora, voluntárias ou não, de todas as threads."""
    textos = (arquivo.read_text() for arquivo in Path(f"/proc/{pid}/task").glob("*/status"))
    return sum(int(numero) for texto in textos for numero in re.findall(r"ctxt_switches:\s+(\d+)", texto))


NO_LINUX = os.path.exists("/proc/self/status")


# --- A carga --------------------------------------------------------------------------------------


def ler_ate(sock: socket.socket, palavra: bytes) -> None:
    """Lê até o fim da linha em que está `palavra`."""
    dados = b""
    while palavra not in dados or not dados.endswith(b"\n"):
        pedaco = sock.recv(4096)
        if not pedaco:
            raise ConnectionError(f"o servidor fechou sem dizer {palavra!r}: {dados!r}")
        dados += pedaco


def entrar(porta: int, tipo: str, nome: str, palavra: bytes, em_json: bool = False) -> socket.socket:
    """Conecta, identifica-se e lê até `palavra`."""
    sock = socket.create_connection(("127.0.0.1", porta), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall((f'{{"comando":"{tipo.lower()}","nome":"{nome}"}}\n' if em_json else f"{tipo}\n{nome}\n").encode())
    ler_ate(sock, palavra.lower().strip(b":") if em_json else palavra)
    return sock


class Ponta(NamedTuple):
    """Um lado de um par: o socket, a linha que ele diz e os bytes da que ele lê."""

    sock: socket.socket
    linha: bytes
    chegam: int


@contextlib.contextmanager
def pares(porta: int, quantos: int, em_json: bool = False) -> Iterator[list[Ponta]]:
    """Forma pares; dá as pontas, o par de cada uma ao lado dela."""
    with contextlib.ExitStack() as pilha:
        pontas = []
        for i in range(quantos):
            atendente = pilha.enter_context(entrar(porta, "ATENDENTE", f"A{i}", b"FILA", em_json))
            cliente = pilha.enter_context(entrar(porta, "CLIENTE", f"C{i}", b"CONECTADO", em_json))
            ler_ate(atendente, b"conectado" if em_json else b"CONECTADO")
            for sock, nome in (cliente, f"C{i}"), (atendente, f"A{i}"):
                pontas.append(Ponta(sock, *linha_de(nome, em_json)))
        yield pontas


def linha_de(nome: str, em_json: bool) -> tuple[bytes, int]:
    """A linha que `nome` diz, e os bytes que ela tem quando chega ao par, com um nome do mesmo tamanho."""
    prefixo = f"[{nome}]: "
    texto = "x" * (TAMANHO - len(prefixo) - 1)
    if em_json:
        linha = f'{{"comando":"mensagem","texto":"{texto}"}}\n'
        return linha.encode(), len(linha) + len(f'"nome":"{nome}",')
    return f"{prefixo}{texto}\n".encode(), TAMANHO


def conversar(pontas: list[Ponta], segundos: float) -> list[float]:
    """Uma linha no ar por par, que vai e volta; devolve os segundos que cada ida ou volta levou."""
    tempos, partidas = [], [0.0] * len(pontas)
    with selectors.DefaultSelector() as seletor:
        for i, (sock, linha, chegam) in enumerate(pontas):
            seletor.register(sock, selectors.EVENT_READ, (i // 2, sock.recv, sock.send, linha, chegam))
        agora = time.perf_counter()
        fim = agora + segundos
        for i, (sock, linha, _) in enumerate(pontas[::2]):
            partidas[i] = time.perf_counter()
            sock.send(linha)
        while agora < fim:
            for chave, _ in seletor.select(10):
                par, receber, enviar, linha, chegam = chave.data
                if len(receber(chegam)) != chegam:
                    raise ConnectionError("chegou meia linha")
                agora = time.perf_counter()
                tempos.append(agora - partidas[par])
                partidas[par] = agora
                enviar(linha)
    return tempos


def inundar(pontas: list[Ponta]) -> float:
    """Um lado escreve sem parar, o outro lê; devolve as linhas por segundo."""
    (cliente, linha, _), (atendente, _, chegam) = pontas
    total, a_chegar = INUNDACAO * len(linha), INUNDACAO * chegam
    bloco = memoryview(linha * 1024)
    enviados = recebidos = 0
    with selectors.DefaultSelector() as seletor:
        for sock, evento in (cliente, selectors.EVENT_WRITE), (atendente, selectors.EVENT_READ):
            sock.setblocking(False)
            seletor.register(sock, evento)
        inicio = time.perf_counter()
        while recebidos < a_chegar:
            for chave, _ in seletor.select(10):
                if chave.fileobj is atendente:
                    recebidos += len(atendente.recv(1 << 18))
                elif enviados < total:
                    desde = enviados % len(bloco)
                    enviados += cliente.send(bloco[desde : desde + total - enviados])
                else:
                    seletor.unregister(cliente)
    return INUNDACAO / (time.perf_counter() - inicio)


# --- As medidas -----------------------------------------------------------------------------------


@dataclass
class Conversa:
    """O que se mediu de pares que conversam; o que só o Linux diz é `nan` nos outros sistemas."""

    por_segundo: float  # linhas que atravessaram o servidor
    p50: float  # microssegundos
    p99: float
    trocas: float  # de contexto, por linha
    cpu: float  # microssegundos do servidor, por linha

    @classmethod
    def medir(cls, comando: list[str], em_json: bool, quantos: int, segundos: float) -> "Conversa":
        with no_ar(comando) as (porta, pid), pares(porta, quantos, em_json) as pontas:
            antes = (trocas(pid), cpu(pid)) if NO_LINUX else (float("nan"),) * 2
            inicio = time.perf_counter()
            tempos = conversar(pontas, segundos)
            durou = time.perf_counter() - inicio
            depois = (trocas(pid), cpu(pid)) if NO_LINUX else (float("nan"),) * 2
        n, centesimos = len(tempos), quantiles(tempos, n=100)
        trocou, gastou = ((fim - comeco) / n for comeco, fim in zip(antes, depois))
        return cls(n / durou, centesimos[49] * 1e6, centesimos[98] * 1e6, trocou, gastou * 1e6)

    @classmethod
    def mediana(cls, rodadas: list["Conversa"]) -> "Conversa":
        return cls(*(median(getattr(rodada, campo) for rodada in rodadas) for campo in cls.__dataclass_fields__))


def medir_inundacao(comando: list[str], em_json: bool) -> float:
    with no_ar(comando) as (porta, _), pares(porta, 1, em_json) as pontas:
        return inundar(pontas)


@dataclass
class Espera:
    """O que se mediu com muita gente na fila."""

    formar: float  # microssegundos, mediana: do nome do atendente ao `CONECTADO:` que ele lê
    formar_pior: float
    memoria: float  # KiB por conexão
    repouso: float  # % de um núcleo


def medir_espera(comando: list[str], quantos: int, repouso: float) -> Espera:
    """Enche a fila, mede o que ela custa parada e o que custa formar pares com ela cheia."""
    gasto = por_conexao = float("nan")
    with no_ar(comando) as (porta, pid), contextlib.ExitStack() as pilha:
        antes = memoria(pid) if NO_LINUX else 0
        for i in range(quantos):
            pilha.enter_context(entrar(porta, "CLIENTE", f"C{i}", b"FILA:"))
        if NO_LINUX:
            por_conexao = (memoria(pid) - antes) / quantos
            if repouso:
                inicio = cpu(pid)
                time.sleep(repouso)  # não se espera por nada: é o silêncio que se mede
                gasto = (cpu(pid) - inicio) / repouso * 100
        tempos = []
        for i in range(FORMADOS):
            atendente = pilha.enter_context(socket.create_connection(("127.0.0.1", porta), timeout=10))
            atendente.sendall(b"ATENDENTE\n")
            ler_ate(atendente, b"NOME:")
            inicio = time.perf_counter()
            atendente.sendall(b"A%d\n" % i)
            ler_ate(atendente, b"CONECTADO:")
            tempos.append((time.perf_counter() - inicio) * 1e6)
            pilha.enter_context(entrar(porta, "CLIENTE", f"D{i}", b"FILA:"))  # a fila não encolhe
    return Espera(median(tempos), max(tempos), por_conexao, gasto)


# --- O que se mostra ------------------------------------------------------------------------------


def numero(valor: float, casas: int = 0) -> str:
    """`12345.6` como se escreve em português: `12 346`; o que não se mediu é um traço."""
    return "–" if valor != valor else f"{valor:,.{casas}f}".replace(",", " ").replace(".", ",")


def barra(feito: int, total: int, texto: str) -> None:
    """A barra de progresso, se há um terminal que a mostre."""
    if sys.stderr.isatty():
        cheia = 30 * feito // total
        fim = "\n" if feito == total else ""
        desenho = "█" * cheia + "░" * (30 - cheia)
        print(f"\r\x1b[2K[{desenho}] {feito}/{total} {texto}", end=fim, file=sys.stderr, flush=True)


def svg(titulo: str, casas: int, valores: dict[str, float]) -> str:
    """Um gráfico de barras com fundo próprio, legível em página clara ou escura."""
    alto, maior = 56 + 30 * len(valores), max(valores.values())
    partes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {alto}" font-family="sans-serif" font-size="14">',
        f'<rect width="720" height="{alto}" rx="8" fill="#f6f8fa"/>',
        f'<text x="20" y="30" font-size="15" font-weight="bold" fill="#1f2328">{titulo}</text>',
    ]
    for y, (rotulo, valor) in zip(itertools.count(48, 30), valores.items()):
        largura = 380 * valor / maior
        cor = "#8c959f" if "relay" in rotulo else "#0969da"
        partes += [
            f'<text x="230" y="{y + 15}" text-anchor="end" fill="#1f2328">{rotulo}</text>',
            f'<rect x="240" y="{y}" width="{largura:.1f}" height="20" rx="3" fill="{cor}"/>',
            f'<text x="{248 + largura:.1f}" y="{y + 15}" fill="#1f2328">{numero(valor, casas)}</text>',
        ]
    return "\n".join([*partes, "</svg>\n"])


def main() -> None:
    analisador = Analisador("Mede o servidor, e o compara com um relay mínimo.")
    analisador.opcao("--rodadas", 3, "de que se tira a mediana", inteiro(1, 1000))
    analisador.opcao("--segundos", 0.6, "de cada conversa", segundos)
    analisador.opcao("--esperando", 1000, "na fila", inteiro(10, 5000))
    analisador.opcao("--svg", None, "pasta em que se gravam os gráficos", Path)
    analisador.add_argument("--relay", action="store_true", help=argparse.SUPPRESS)
    opcoes = analisador.parse_args()
    if opcoes.relay:
        with ServidorMinimo(("127.0.0.1", 0), RelayMinimo) as relay:
            print(f"porta {relay.server_address[1]}", flush=True)
            relay.serve_forever()
    permitir_descritores(2 * opcoes.esperando + 256)

    pasta = tempfile.TemporaryDirectory()
    comandos = variantes(pasta.name)
    inundados = ["servidor", "servidor, JSON", "servidor, --registro", "servidor, vários núcleos", "relay mínimo"]
    conversas: dict[tuple[str, int], list[Conversa]] = defaultdict(list)
    inundacoes: dict[str, list[float]] = defaultdict(list)
    total = opcoes.rodadas * (2 * len(comandos) + len(inundados)) + 2
    passo = itertools.count(1)
    # Uma rodada passa por todos: se a máquina ficar ocupada por um instante, atrapalha a todos.
    for _ in range(opcoes.rodadas):
        for nome, quantos in itertools.product(comandos, (1, 50)):
            conversas[nome, quantos].append(Conversa.medir(comandos[nome], "JSON" in nome, quantos, opcoes.segundos))
            barra(next(passo), total, f"{nome}: {quantos} par(es)")
        for nome in inundados:
            inundacoes[nome].append(medir_inundacao(comandos[nome], "JSON" in nome))
            barra(next(passo), total, f"{nome}: inundação")
    pouca = medir_espera(comandos["servidor"], 10, 0)
    barra(next(passo), total, "10 esperando")
    muita = medir_espera(comandos["servidor"], opcoes.esperando, REPOUSO)
    barra(next(passo), total, f"{opcoes.esperando} esperando")

    resumo = {chave: Conversa.mediana(rodadas) for chave, rodadas in conversas.items()}
    for quantos in 1, 50:
        chao = resumo["relay mínimo", quantos].por_segundo
        print(f"\n{quantos} par(es), uma linha de {TAMANHO} bytes no ar por par (medianas de {opcoes.rodadas} rodadas)")
        titulos = f"{'linhas/s':>10}{'÷ relay':>9}{'p50 µs':>9}{'p99 µs':>9}{'trocas/linha':>14}{'CPU µs/linha':>14}"
        print(" " * 30 + titulos)
        for nome in comandos:
            c = resumo[nome, quantos]
            print(
                f"{nome:30}{numero(c.por_segundo):>10}{numero(c.por_segundo / chao, 2):>9}{numero(c.p50):>9}"
                f"{numero(c.p99):>9}{numero(c.trocas, 2):>14}{numero(c.cpu, 1):>14}"
            )
    print(f"\nInundação: {numero(INUNDACAO)} linhas de {TAMANHO} bytes, um par")
    inundacao = {nome: median(valores) for nome, valores in inundacoes.items()}
    for nome, valor in inundacao.items():
        print(f"{nome:30}{numero(valor):>10} linhas/s{numero(valor / inundacao['relay mínimo'], 2):>9} ÷ relay")
    print(f"\nA fila: {FORMADOS} pares formados, um depois do outro")
    for quantos, espera in (10, pouca), (opcoes.esperando, muita):
        pior = numero(espera.formar_pior)
        print(f"{quantos:5} esperando: {numero(espera.formar)} µs para formar um par (pior: {pior})")
    if NO_LINUX:
        print(f"Parados na fila: {numero(muita.memoria, 1)} KiB por conexão, {numero(muita.repouso, 2)} % de um núcleo")
    else:
        print("Memória, CPU e trocas de contexto: só no Linux, que as conta em /proc.")

    if opcoes.svg:
        de_50 = {nome: resumo[nome, 50] for nome in comandos}
        graficos = {
            "conversa": svg("50 pares: linhas por segundo", 0, {n: c.por_segundo for n, c in de_50.items()}),
            "inundacao": svg("Inundação: linhas de 64 bytes por segundo", 0, inundacao),
        }
        if NO_LINUX:
            trocas_de_50 = {nome: c.trocas for nome, c in de_50.items()}
            graficos["trocas"] = svg("50 pares: trocas de contexto por linha", 2, trocas_de_50)
        for nome, texto in graficos.items():
            (opcoes.svg / f"desempenho-{nome}.svg").write_text(texto, encoding="utf-8")


if __name__ == "__main__":
    main()
