"""Uma turma simulada: alunos e atendentes que conversam de verdade, contra um servidor de verdade.

    python docs/turma.py                              (sobe um servidor só seu, e o encerra no fim)
    python docs/turma.py --host 192.168.0.10          (usa o servidor do professor)
    python docs/turma.py --semente 7 --ritmo 5        (a turma de número 7, cinco vezes mais rápido)

Num terminal, Enter congela a turma: ninguém mais digita, chega ou perde a paciência, e as conexões ficam como estão,
para que se olhem as threads do servidor. Outro Enter a descongela.

Cada personagem é uma thread com o seu socket, e nada mais: não há memória dividida entre eles, e o
que um sabe do outro veio pela rede. O atendente responde ao que leu; o aluno só volta a falar depois
de ler a resposta. O que lhes acontece eles contam por uma fila (`queue`) à thread principal, a única
que escreve na tela e a única que faz contas: por isso este programa não tem nenhuma trava.

A semente decide os nomes, as falas e os ritmos. Quem é atendido por quem, e em que ordem, também
depende da rede: duas aulas com a mesma semente têm as mesmas pessoas, e não a mesma história.

No fim as mensagens ditas têm de ser as ouvidas, na mesma ordem, e é nisso que a turma testa o
servidor. Pode haver mais gente nele: com `--atendentes 0`, quem atende é a sala; com `--alunos 0`, a
sala pergunta. As conversas com gente de fora não são conferidas.
"""

import contextlib
import os
import queue
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RAIZ = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(RAIZ))

from atendimento.filas import ENCERRADO  # noqa: E402
from atendimento.opcoes import Analisador, inteiro, segundos, senha_valida, valido  # noqa: E402
from atendimento.terminal import aceitar_tudo, colorir, e_terminal, usar_cores  # noqa: E402
from atendimento.turno import Turno  # noqa: E402
from protocolo import (  # noqa: E402
    PORTA_PADRAO,
    Aviso,
    Comando,
    Conectado,
    Entrada,
    Fila,
    Fim,
    Json,
    Mensagem,
    Pausa,
    Pergunta,
    Resposta,
    SeparadorDeLinhas,
    Texto,
    Tipo,
    Volta,
    validar_departamentos,
)

LEITURA = 25.0
"""Caracteres que se leem por segundo. O que se digita depende de cada um: uns 5."""

RESPOSTA_EM = 180.0
"""Segundos que um aluno espera por uma resposta antes de ir embora, no ritmo humano."""

FORA_DO_AR = "Não foi possível conectar ao servidor. Verifique se ele está online."
CONGELADA = "❚❚ Turma congelada: ninguém faz nada. Enter continua."
ANUNCIO = re.compile(rb"porta (\d+)\.")


class Falha(Exception):
    """O personagem não pode continuar; a mensagem diz por quê."""


@dataclass(slots=True)
class Fato:
    """O que houve com um personagem, para a thread principal."""

    quem: "Personagem"
    que: str  # uma das chaves de FRASES, ou "ouviu", "falhou", "saiu"
    com: str = ""  # o nome do outro, se há um
    texto: str = ""  # a mensagem, ou o motivo
    quando: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Aula:
    """O que os personagens têm em comum. Mudam `parar` e `contados`, que foram feitos para threads, e `congelada`.

    Desta, quem escreve é só a thread principal, e de uma vez.
    """

    endereco: tuple[str, int]
    semente: int
    ritmo: int
    senha: str | None
    intervalo: float  # segundos entre a chegada de um aluno e a do seguinte, no ritmo humano
    atendentes: int  # quantos
    parar: threading.Event = field(default_factory=threading.Event)
    contados: "queue.SimpleQueue[Fato]" = field(default_factory=queue.SimpleQueue)
    congelada: tuple[float, float | None] = (0.0, None)  # segundos que já esteve, e desde quando está

    def parada(self) -> float:
        """Segundos, desde o começo, em que o tempo dos personagens não andou."""
        esteve, desde = self.congelada
        return esteve if desde is None else esteve + time.monotonic() - desde

    def congelar(self) -> bool:
        """Congela a aula, ou a descongela; diz se ficou congelada."""
        desde = time.monotonic() if self.congelada[1] is None else None
        self.congelada = self.parada(), desde
        return desde is not None


# --- Os personagens: uma thread para cada um ------------------------------------------------------


class Personagem(threading.Thread):
    """Alguém com um nome, um ritmo e um socket. `numero` é o seu lugar entre os do mesmo tipo.

    Um tipo de personagem diz o seu `tipo`, como `escolher` um departamento e, na fila, como `viver`.
    """

    tipo: Tipo

    def __init__(self, aula: Aula, nome: str, numero: int, json: bool) -> None:
        super().__init__(name=nome, daemon=True)
        self.aula, self.nome, self.numero = aula, nome, numero
        self.acaso = random.Random(f"{aula.semente} {nome}")  # só seu: o que os outros fazem não o muda
        self.velocidade = self.acaso.uniform(4.0, 7.0)  # caracteres digitados por segundo
        self.chega_em = 0.0  # segundos depois do começo da aula
        self.formato = Json() if json else Texto()
        self.separador = SeparadorDeLinhas(self.formato.maximo)
        self.lidos: deque[Comando] = deque()  # chegaram num `recv`, e ainda não se olhou para eles
        self.sock: socket.socket | None = None

    def run(self) -> None:
        """A vida inteira, do primeiro byte ao último."""
        try:
            self.esperar(self.chega_em)
            with socket.create_connection(self.aula.endereco, timeout=10) as self.sock:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # cada linha parte na hora
                self.identificar()
                self.viver()
        except (Falha, OSError) as erro:
            if not self.aula.parar.is_set():
                do_sistema = "A conexão com o servidor caiu." if self.sock else FORA_DO_AR
                self.contar("falhou", texto=str(erro) if isinstance(erro, Falha) else do_sistema)
        finally:
            self.contar("saiu")

    def identificar(self) -> None:
        """Diz o tipo e responde ao que o servidor pergunta, até estar na fila."""
        self.enviar(Entrada(self.tipo))
        while True:
            match comando := self.ouvir():  # um Python velho desiste aqui: use o 3.10
                case Pergunta("nome"):
                    resposta = self.nome
                case Pergunta("senha") if self.aula.senha is None:
                    raise Falha("O servidor pede a senha dos atendentes: use --senha ou a variável FILA_SENHA.")
                case Pergunta("senha"):
                    resposta = self.aula.senha
                case Pergunta("departamento", opcoes):
                    resposta = self.escolher(opcoes)
                case Fim(motivo):
                    raise Falha(motivo)
                case _:
                    self.lidos.appendleft(comando)  # já é de quem está na fila
                    return
            self.enviar(Resposta(comando.campo, resposta))

    def ouvir(self, prazo: float | None = None) -> Comando | None:
        """O próximo comando do servidor; `None` se ele não vem em `prazo` segundos."""
        while not self.lidos:
            if self.aula.parar.is_set():  # quem acabou de conectar não foi acordado por `dispensar`
                raise Falha("A aula acabou.")
            self.sock.settimeout(prazo)
            parada = self.aula.parada()
            try:
                dados = self.sock.recv(4096)
            except TimeoutError:
                congelada = self.aula.parada() - parada  # este tempo não conta
                if not congelada:
                    return None
                prazo = max(congelada, 0.05)
                continue
            if not dados:
                raise ConnectionError
            self.lidos.extend(self.formato.ler_servidor(self.separador.alimentar(dados)))
        comando = self.lidos.popleft()
        if comando == ENCERRADO:
            raise Falha(ENCERRADO.mensagem)
        if isinstance(comando, Mensagem):
            for texto in comando.textos:
                self.contar("ouviu", comando.nome, texto)
        return comando

    def enviar(self, comando: Comando) -> None:
        self.sock.sendall(self.formato.codificar(comando))

    def dizer(self, para: str, texto: str) -> None:
        self.contar("disse", para, texto)
        self.enviar(Mensagem(self.nome, [texto]))

    def digitar(self, texto: str, lido: str = "") -> None:
        """O tempo de ler uma mensagem e de escrever outra."""
        hesitacao = self.acaso.uniform(0.5, 2.0)
        self.esperar(len(lido) / LEITURA + hesitacao + len(texto) / self.velocidade)

    def esperar(self, tempo: float) -> None:
        """Deixa passar `tempo` segundos, no ritmo da aula; o fim dela interrompe este `wait`, e não um `sleep`."""
        falta = tempo / self.aula.ritmo
        while falta > 0:
            parada = self.aula.parada()
            if self.aula.parar.wait(falta):
                raise Falha("A aula acabou.")
            congelada = self.aula.parada() - parada  # este tempo não conta
            falta = max(congelada, 0.05) if congelada else 0.0

    def contar(self, que: str, com: str = "", texto: str = "") -> None:
        self.aula.contados.put(Fato(self, que, com, texto))

    def dispensar(self) -> None:
        """Acorda, de outra thread, quem estiver parado no `recv`."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


class Aluno(Personagem):
    """Um cliente: chega, espera, conta o seu problema e vai embora do seu jeito."""

    tipo = Tipo.CLIENTE

    def __init__(self, aula: Aula, nome: str, numero: int, json: bool, jeito: str) -> None:
        super().__init__(aula, nome, numero, json)
        self.jeito = jeito
        self.chega_em = aula.intervalo * (numero + self.acaso.random())
        self.paciencia = self.acaso.uniform(15.0, 25.0) / aula.ritmo if jeito == "desiste" else None  # segundos
        self.prazo_da_resposta = max(RESPOSTA_EM / aula.ritmo, 20.0)  # o que uma máquina ocupada pode precisar
        self.falas = [fala for fala, _ in self.acaso.choice(ROTEIROS)]
        if jeito == "fecha a janela":
            self.falas = self.falas[:2]
        elif jeito != "encerra":  # a despedida pede ao atendente que encerre
            self.falas.append(self.acaso.choice(list(DESPEDIDAS)))

    def escolher(self, departamentos: Sequence[str]) -> str:
        return self.acaso.choice(departamentos)

    def viver(self) -> None:
        self.contar("chegou")
        adiantou = self.jeito == "fala na fila"
        if adiantou:  # o servidor guarda o que ele diz, e o entrega quando houver a quem
            self.digitar(self.falas[0])
            self.enviar(Mensagem(self.nome, [self.falas[0]]))
        atendente = self.esperar_a_vez()
        if atendente is None:
            return
        resposta = ""
        for fala in self.falas:
            if adiantou:
                self.contar("disse", atendente, fala)
                adiantou = False
            else:
                self.digitar(fala, resposta)
                self.dizer(atendente, fala)
            resposta = self.esperar_mensagem(atendente)
            if resposta is None:
                return
        # Daqui em diante ninguém tem nada a dizer: sair de qualquer jeito não perde mensagens.
        if self.jeito == "fecha a janela":
            self.contar("fechou", atendente)
            # Não se despede, nem do TCP: com isto, fechar manda um RST.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if self.jeito == "encerra":
            self.contar("encerrou", atendente)
            self.enviar(Fim())
        while self.esperar_mensagem(atendente) is not None:
            pass

    def esperar_a_vez(self) -> str | None:
        """Espera na fila; o nome do atendente, ou `None` se a paciência acabou antes."""
        atendente, desistiu = None, False
        ate = time.monotonic() + self.paciencia if self.paciencia else None
        while True:
            match self.ouvir(None if ate is None or desistiu else max(0.001, ate - time.monotonic())):
                case None:
                    desistiu = True
                    self.enviar(Fim())
                case Conectado(atendente):
                    self.contar("atendido", atendente)
                    if not desistiu:
                        return atendente
                    # Era a vez dele, mas o pedido de sair já ia pelo caminho: falta ler o fim.
                case Fim():
                    if atendente is None:
                        self.contar("desistiu")
                    return None

    def esperar_mensagem(self, atendente: str) -> str | None:
        """O que o atendente disse; `None` se a conversa acabou, ou se ele demora demais."""
        while True:
            match self.ouvir(self.prazo_da_resposta):
                case Mensagem(_, textos):
                    return textos[-1]
                case Fim():
                    return None
                case None:
                    self.contar("cansou", atendente)
                    return None


class Atendente(Personagem):
    """Atende um cliente depois do outro, até ser dispensado; responde só ao que lê."""

    tipo = Tipo.ATENDENTE

    def __init__(self, aula: Aula, nome: str, numero: int, json: bool, toma_cafe: bool) -> None:
        super().__init__(aula, nome, numero, json)
        self.toma_cafe = toma_cafe
        self.chega_em = numero * 0.7

    def escolher(self, departamentos: Sequence[str]) -> str:
        """Os de cada um são outros, e juntos os atendentes cobrem todos: nenhum aluno espera em vão."""
        return ",".join(departamentos[self.numero % len(departamentos) :: self.aula.atendentes])

    def viver(self) -> None:
        cliente = ""
        while True:
            match self.ouvir():
                case Fila():
                    self.contar("livre")
                case Conectado(cliente):
                    self.contar("atende", cliente)
                    saudacao = self.acaso.choice(SAUDACOES).format(cliente.split()[0])
                    if self.toma_cafe:  # pedida no meio de uma conversa, a pausa começa no fim dela
                        self.toma_cafe = False
                        self.enviar(Pausa())
                case Mensagem(_, textos):
                    for texto in textos:
                        self.responder(cliente, texto, saudacao)
                        saudacao = ""
                case Fim():
                    self.contar("terminou", cliente)
                case Aviso("Você está em pausa."):
                    self.contar("pausa")
                    self.esperar(self.acaso.uniform(15.0, 25.0))
                    self.contar("volta")
                    self.enviar(Volta())

    def responder(self, cliente: str, lido: str, saudacao: str) -> None:
        resposta = saudacao + (RESPOSTAS.get(lido) or self.acaso.choice(PARA_GENTE_DE_FORA))
        self.digitar(resposta, lido)
        self.dizer(cliente, resposta)
        if lido in DESPEDIDAS:  # quem se despede não faz mais nada: este FIM: não cruza com outro
            self.enviar(Fim())


JEITOS = ("desiste", "fecha a janela", "encerra", "fala na fila") + ("espera",) * 8
"""De cada doze alunos, quatro têm o seu jeito. Só um deles, o que desiste, depende do que a fila demorar."""


def criar_turma(aula: Aula, alunos: int, metade_json: bool) -> tuple[list[Aluno], list[Atendente]]:
    """Os personagens, todos com nomes distintos; com `metade_json`, um sim e um não falam JSON."""
    acaso = random.Random(aula.semente)
    nomes, sobrenomes = (acaso.sample(lista, len(lista)) for lista in (NOMES, SOBRENOMES))
    # A cada volta nos nomes, o sobrenome anda um a mais: ninguém repete os dois.
    gente = [
        f"{nomes[i % len(nomes)]} {sobrenomes[(i + i // len(nomes)) % len(sobrenomes)]}"
        for i in range(alunos + aula.atendentes)
    ]
    jeitos = [JEITOS[numero % len(JEITOS)] for numero in range(alunos)]
    # Quem chega no meio espera mais; e é só na espera que se desiste, ou se fala antes da hora.
    jeitos = jeitos[len(jeitos) // 2 :] + jeitos[: len(jeitos) // 2]
    cafe = acaso.randrange(aula.atendentes) if aula.atendentes else 0
    return (
        [Aluno(aula, gente.pop(), i, metade_json and i % 2 == 1, jeito) for i, jeito in enumerate(jeitos)],
        [Atendente(aula, gente.pop(), i, metade_json and i % 2 == 0, i == cafe) for i in range(aula.atendentes)],
    )


# --- A thread principal: as contas e a tela -------------------------------------------------------

FRASES = {
    "chegou": "{quem} chegou.",
    "atendido": "{com} atende {quem}.",
    "disse": "[{quem}]: {texto}",
    "encerrou": "{quem} encerrou a conversa.",
    "fechou": "{quem} fechou a janela no meio da conversa.",
    "desistiu": "{quem} desistiu de esperar.",
    "cansou": "{quem} foi embora: {com} não respondia.",
    "terminou": "{quem} terminou com {com}.",
    "pausa": "{quem} foi tomar um café.",
    "volta": "{quem} voltou do café.",
}


class Contas:
    """O que já aconteceu na aula. Só a thread principal a usa."""

    def __init__(self, alunos: Sequence[Aluno], atendentes: Sequence[Atendente]) -> None:
        self.alunos, self.atendentes = alunos, atendentes
        self.nomes = {personagem.nome for personagem in (*alunos, *atendentes)}
        self.comeco = time.monotonic()
        self.chegada: dict[str, float] = {}  # de quem está na fila, por ordem de chegada
        self.turno = Turno([""])  # as contas que o servidor também faz: as duas têm de concordar
        self.atendidos = Counter({atendente.nome: 0 for atendente in atendentes})  # por atendente
        self.quantos: Counter[str] = Counter()  # de cada fato
        self.fase: dict[str, tuple[str, float, str]] = {}  # do atendente: o que faz, desde quando, com quem
        self.ultima: dict[str, str] = {}  # do atendente: a última fala da sua conversa
        self.ditas: dict[tuple[str, str], list[str]] = defaultdict(list)  # por (quem disse, a quem)
        self.ouvidas: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.com_gente_de_fora: set[str] = set()
        self.faltam = len(alunos)  # que ainda não foram embora
        self.falha = ""  # o motivo da primeira

    def anotar(self, fato: Fato) -> None:
        quem, com = fato.quem.nome, fato.com
        self.quantos[fato.que] += 1
        if com and com not in self.nomes:
            self.com_gente_de_fora.add(quem)
        match fato.que:
            case "chegou":
                self.chegada[quem] = fato.quando
            case "atendido":
                self.turno.comecou("", fato.quando - self.chegada.pop(quem))
                self.atendidos[com] += 1
            case "disse":
                self.ditas[quem, com].append(fato.texto)
                self.ultima[quem if isinstance(fato.quem, Atendente) else com] = f"{quem.split()[0]}: {fato.texto}"
            case "ouviu":
                self.ouvidas[com, quem].append(fato.texto)
            case "livre" | "atende" | "pausa":
                self.fase[quem] = fato.que, fato.quando, com
                self.atendidos[quem] += fato.que == "atende" and com not in self.nomes  # os da turma, eles contam
                self.ultima.pop(quem, None)
            case "desistiu":
                self.turno.desistiu("")
            case "saiu":
                self.chegada.pop(quem, None)
                self.fase.pop(quem, None)
                self.faltam -= isinstance(fato.quem, Aluno)
            case "falhou":
                self.falha = self.falha or fato.texto

    @property
    def acabou(self) -> bool:
        """Todos os alunos se foram. Sem alunos, quem pergunta é a sala, e a aula é até o Ctrl+C."""
        return bool(self.alunos) and not self.faltam

    def diferencas(self) -> list[str]:
        """Uma frase para cada mensagem que se perdeu, que sobrou ou que chegou fora de ordem."""
        frases = []
        for de, para in self.ditas | self.ouvidas:
            if {de, para} & self.com_gente_de_fora:
                continue
            ditas, ouvidas = self.ditas[de, para], self.ouvidas[de, para]
            perdidas, sobras = Counter(ditas) - Counter(ouvidas), Counter(ouvidas) - Counter(ditas)
            frases += [f"não foi ouvida: de {de} para {para}: {texto}" for texto in perdidas.elements()]
            frases += [f"não foi dita: de {de} para {para}: {texto}" for texto in sobras.elements()]
            if ditas != ouvidas and not perdidas and not sobras:
                frases.append(f"fora de ordem: de {de} para {para}: {' / '.join(ouvidas)}")
        return frases

    def resumo(self, completo: bool) -> list[str]:
        """O que se diz no fim; de uma aula que não acabou, o que houve até ali, sem conferir nada."""
        ditas, ouvidas = (sum(map(len, falas.values())) for falas in (self.ditas, self.ouvidas))
        diferencas = self.diferencas() if completo else []
        veredicto = "" if not completo else ": não batem" if diferencas else ": batem"
        atenderam = ", ".join(f"{nome} {quantos}" for nome, quantos in self.atendidos.most_common())
        return [
            "Resumo da aula, interrompida:" if not completo else "Resumo da aula:",
            *(f"  {frase}" for frase in self.turno.resumo()),
            f"  Atenderam: {atenderam or 'ninguém'}.",
            f"  Mensagens: {ditas} ditas, {ouvidas} ouvidas{veredicto}.",
            *(f"    {frase}" for frase in diferencas),
        ]


class Quadro:
    """A tela: num terminal, uma linha por atendente, refeita no lugar; sem ele, uma por fato."""

    def __init__(self, contas: Contas) -> None:
        aceitar_tudo(sys.stdout)
        self.contas = contas
        self.no_lugar = usar_cores(sys.stdout)
        self.altura = 0  # linhas da tela que são do quadro
        self.proximo = 0.0  # o instante a partir do qual vale a pena refazê-lo
        self.congelada = False

    def congelar(self, congelada: bool) -> None:
        """Alguém apertou Enter, que na tela é também uma quebra de linha."""
        self.congelada = congelada
        if self.no_lugar:
            self.altura += 1
            self.refazer(ja=True)
        else:
            print(CONGELADA if congelada else "A turma continua.", flush=True)

    def mostrar(self, fato: Fato) -> None:
        """Um fato, se não há onde refazer o quadro."""
        if not self.no_lugar and fato.que in FRASES:
            frase = FRASES[fato.que].format(quem=fato.quem.nome, com=fato.com, texto=fato.texto)
            print(f"{relogio(fato.quando - self.contas.comeco):>5}  {frase}", flush=True)

    def refazer(self, ja: bool = False) -> None:
        """O quadro, por cima do anterior; umas dez vezes por segundo no máximo, se não tem de ser `ja`."""
        agora = time.monotonic()
        if not self.no_lugar or agora < self.proximo and not ja:
            return
        self.proximo = agora + 0.1
        colunas, altura = shutil.get_terminal_size()
        linhas = list(self._linhas(agora))[: altura - 1]  # do que sai da tela por cima o cursor não volta
        subir = f"\x1b[{self.altura}A\r" if self.altura else ""
        refeitas = (colorir(cortar(texto, colunas - 1), cor, True) + "\x1b[K\n" for texto, cor in linhas)
        print(subir + "".join(refeitas) + "\x1b[J", end="", flush=True)
        self.altura = len(linhas)

    def _linhas(self, agora: float) -> Iterator[tuple[str, str | None]]:
        """Os textos e as cores."""
        contas = self.contas
        a_caminho = len(contas.alunos) - contas.quantos["chegou"]
        yield f"  {CONGELADA}" if self.congelada else "", "magenta"
        yield (
            f"  {relogio(agora - contas.comeco):>5}    a caminho {a_caminho:<4} na fila {len(contas.chegada):<4} "
            f"atendidos {contas.quantos['atendido']:<4} desistências {contas.quantos['desistiu']}"
        ), "ciano"
        fila = "   ".join(f"{nome.split()[0]} {relogio(agora - desde)}" for nome, desde in contas.chegada.items())
        yield f"  fila     {fila or 'ninguém'}", "amarelo" if fila else None
        yield "", None
        largo = max((len(atendente.nome) for atendente in contas.atendentes), default=0)
        for atendente in contas.atendentes:
            fase, desde, cliente = contas.fase.get(atendente.nome, ("", agora, ""))
            faz, cor = {
                "atende": (f"●  {cliente:<22.22} {contas.ultima.get(atendente.nome, '')}", "verde"),
                "pausa": ("‖  em pausa", "amarelo"),
                "livre": ("○  esperando um cliente", None),
            }.get(fase, ("", None))
            yield f"  {atendente.nome:<{largo}}  {relogio(agora - desde):>5}  {faz}", cor


def relogio(segundos: float) -> str:
    """`0:08`, `12:30`."""
    return f"{int(segundos // 60)}:{int(segundos % 60):02}"


def cortar(texto: str, colunas: int) -> str:
    """O que de `texto` cabe em `colunas` do terminal; um emoji ocupa duas."""
    ocupadas = 0
    for lugar, letra in enumerate(texto):
        ocupadas += 1 + (unicodedata.east_asian_width(letra) in "WF")
        if ocupadas >= colunas:
            return texto[:lugar] + "…"
    return texto


# --- O programa -----------------------------------------------------------------------------------


@contextlib.contextmanager
def servidor_proprio(departamentos: Sequence[str] | None, senha: str | None) -> Iterator[tuple[str, int]]:
    """Sobe um servidor numa porta livre, dá o endereço dele e, aconteça o que acontecer, o encerra."""
    comando = [sys.executable, str(RAIZ / "servidor.py"), "--host", "127.0.0.1", "--porta", "0"]
    if departamentos:
        comando += ["--departamentos", ",".join(departamentos)]
    # O Ctrl+C do terminal é para a turma: o servidor, em outro grupo, só acaba depois dela.
    a_parte = {"start_new_session": True, "creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    ambiente = {nome: valor for nome, valor in os.environ.items() if nome != "FILA_SENHA"}
    if senha:
        ambiente["FILA_SENHA"] = senha
    with subprocess.Popen(comando, env=ambiente, stdout=subprocess.PIPE, **a_parte) as processo:
        try:
            anuncio = next((achado for linha in processo.stdout if (achado := ANUNCIO.search(linha))), None)
            if anuncio is None:
                raise Falha("O servidor da turma não subiu.")
            # O log tem de ser lido por alguém, ou o pipe enche.
            threading.Thread(target=deque, args=(processo.stdout, 0), name="log", daemon=True).start()
            yield "127.0.0.1", int(anuncio[1])
        finally:
            processo.terminate()
            try:
                processo.wait(10)
            except subprocess.TimeoutExpired:
                processo.kill()


def ler_enters(enters: "queue.SimpleQueue[bytes]") -> None:
    """A thread do teclado. Não usa `sys.stdin`: o fim do programa esperaria por quem o está lendo."""
    with contextlib.suppress(OSError):
        while digitado := os.read(0, 1024):
            for _ in range(digitado.count(b"\n")):
                enters.put(digitado)


def dar_aula(aula: Aula, alunos: Sequence[Aluno], atendentes: Sequence[Atendente]) -> int:
    """Põe a turma para andar e a acompanha até o fim; devolve o código de saída do programa."""
    turma = [*atendentes, *alunos]
    contas = Contas(alunos, atendentes)
    quadro = Quadro(contas)
    interrompida = False
    enters: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    if e_terminal(sys.stdin):
        threading.Thread(target=ler_enters, args=(enters,), name="teclado", daemon=True).start()
    try:
        for personagem in turma:
            personagem.start()
        while not contas.acabou and not contas.falha:
            # Com prazo: o relógio da tela anda mesmo quando ninguém diz nada.
            with contextlib.suppress(queue.Empty):
                fato = aula.contados.get(timeout=0.25)
                contas.anotar(fato)
                quadro.mostrar(fato)
            while not enters.empty():
                enters.get()
                quadro.congelar(aula.congelar())
            quadro.refazer()
        quadro.refazer(ja=True)
    except KeyboardInterrupt:
        interrompida = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # quem já está saindo não o percebe
    aula.parar.set()
    for personagem in turma:
        personagem.dispensar()
    limite = time.monotonic() + 5
    for personagem in turma:
        if personagem.ident is not None:  # o Ctrl+C pode ter chegado antes de todos começarem
            personagem.join(max(0.0, limite - time.monotonic()))
    while not aula.contados.empty():
        contas.anotar(aula.contados.get())
    completa = not interrompida and not contas.falha
    if contas.quantos["chegou"] or not contas.falha:
        print("", *contas.resumo(completa), sep="\n", flush=True)
    if contas.falha and not interrompida:
        print(contas.falha, file=sys.stderr)
    return int(not interrompida and bool(contas.falha or contas.diferencas()))


def main() -> int:
    """O comando `python docs/turma.py`: 0 se tudo o que se disse foi ouvido, ou se veio um Ctrl+C; senão, 1."""
    analisador = Analisador("Uma turma simulada: alunos e atendentes que conversam pelo servidor.")
    analisador.opcao("--host", None, "endereço do servidor; sem --host nem --porta, a turma sobe um só seu")
    analisador.opcao("--porta", None, f"porta do servidor (padrão, com --host: {PORTA_PADRAO})", inteiro(1, 65535))
    analisador.opcao("--alunos", 12, "quantos clientes; com 0, quem pergunta é a sala, até o Ctrl+C", inteiro(0, 500))
    analisador.opcao("--atendentes", 3, "quantos atendentes; com 0, quem atende é a sala", inteiro(0, 100))
    analisador.opcao("--ritmo", 1, "quantas vezes mais rápido que gente de verdade", inteiro(1, 10_000))
    analisador.opcao("--intervalo", 5.0, "segundos entre uma chegada e a seguinte, no ritmo 1", segundos)
    analisador.opcao("--semente", None, "a mesma semente dá a mesma turma; sem ela, uma qualquer", inteiro(0, 10**9))
    ajuda = "os do servidor que a turma sobe, separados por vírgulas"
    analisador.opcao("--departamentos", None, ajuda, tipo=valido(validar_departamentos))
    analisador.opcao(
        "--senha",
        os.environ.get("FILA_SENHA") or None,
        "a dos atendentes, se o servidor a pede (ou a variável FILA_SENHA)",
        tipo=senha_valida,
        mostrar_padrao=False,
    )
    analisador.chave("--json", "metade da turma fala JSON com o servidor")
    opcoes = analisador.parse_args()
    de_outro = opcoes.host is not None or opcoes.porta is not None
    if de_outro and opcoes.departamentos:
        analisador.error("--departamentos é só para o servidor que a turma sobe")
    if not opcoes.alunos and not opcoes.atendentes:
        analisador.error("uma turma tem ao menos um aluno ou um atendente")

    if hasattr(signal, "SIGTTIN"):  # no fundo (`&`), ler do terminal pararia o programa: assim é só um erro da leitura
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    for sinal in ("SIGINT", "SIGTERM", "SIGHUP"):  # a janela que se fecha também é um Ctrl+C
        if hasattr(signal, sinal):
            signal.signal(getattr(signal, sinal), signal.default_int_handler)
    semente = random.randrange(10_000) if opcoes.semente is None else opcoes.semente
    endereco = opcoes.host or "127.0.0.1", opcoes.porta or PORTA_PADRAO
    servidor = contextlib.nullcontext(endereco) if de_outro else servidor_proprio(opcoes.departamentos, opcoes.senha)
    try:
        with servidor as endereco:
            aula = Aula(endereco, semente, opcoes.ritmo, opcoes.senha, opcoes.intervalo, opcoes.atendentes)
            alunos, atendentes = criar_turma(aula, opcoes.alunos, opcoes.json)
            congela = "Enter congela; " if e_terminal(sys.stdin) else ""
            print(
                f"Turma {semente}. Alunos: {len(alunos)}; atendentes: {len(atendentes)}; ritmo: {opcoes.ritmo}. "
                "Servidor em {}, porta {}. {}Ctrl+C encerra.".format(*endereco, congela),
                flush=True,
            )
            return dar_aula(aula, alunos, atendentes)
    except KeyboardInterrupt:
        print("\nSaindo...")
        return 0
    except BrokenPipeError:  # quem lia a saída já se foi, como o `head` de um `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Falha as falha:
        print(falha, file=sys.stderr)
        return 1


# --- O que se diz ---------------------------------------------------------------------------------
#
# Cada roteiro é uma conversa: a fala do aluno e a resposta do atendente, que a reconhece ao lê-la. Por
# isso nenhuma fala se repete. Ninguém aqui é ele ou ela, que os nomes são sorteados.

SAUDACOES = ("Oi, {}! ", "Olá, {}! ", "Boa tarde, {}! ", "Opa, {}, tudo bem? ")

ROTEIROS = (
    (
        ("Esqueci a senha do portal 😅", "Acontece! Qual é o seu número de matrícula?"),
        ("É 2024-0317.", "Mandei um link de troca para o seu e-mail da universidade."),
        (
            "Chegou! Posso usar a senha antiga?",
            "A antiga não pode. Junte três palavras: é fácil de lembrar e difícil de adivinhar.",
        ),
        ("Deu certo, entrei 🎉", "Que bom! Guarde num gerenciador de senhas, e não num papel."),
    ),
    (
        ("Meu pedido está atrasado há uma semana.", "Sinto muito pela demora. Qual é o número do pedido?"),
        ("O número é 58213.", "Achei: está parado na transportadora, em Maceió, desde terça."),
        ("E quando sai de lá?", "Pedi prioridade agora. A previsão é amanhã, até as 18 h."),
    ),
    (
        (
            "Preciso da nota fiscal de uma compra de março.",
            "Claro. A compra foi em nome de pessoa física ou de empresa?",
        ),
        ("Empresa. O CNPJ mudou depois da compra, atrapalha?", "Não: a nota sai com o CNPJ do dia da compra."),
        ("Perfeito. Dá para mandar em PDF e XML?", "Acabei de mandar os dois arquivos por e-mail."),
    ),
    (
        ("Não consigo me matricular em Redes de Computadores.", "Que mensagem aparece quando você tenta?"),
        ("Diz: «choque de horário com Cálculo 2».", "Há outra turma de Redes, terça e quinta às 19 h. Serve?"),
        ("Serve! Ainda tem vaga?", "Restam duas. Reservei uma para você até meia-noite."),
        ("Confirmei no portal agora mesmo ✅", "Estou vendo aqui: matrícula feita. Boa aula!"),
    ),
    (
        ("O wi-fi da biblioteca não conecta.", "Aparece a rede na lista, ou nem isso?"),
        (
            "Aparece, mas fica em «obtendo endereço IP»…",
            "É o DHCP. Esqueça a rede no aparelho e entre de novo, por favor.",
        ),
        (
            "Fiz isso. Agora diz 169.254 alguma coisa.",
            "Esse endereço o aparelho inventou: o nosso servidor não respondeu. Vou reiniciá-lo.",
        ),
        ("Voltou! 192.168.4.87 🙌", "Esse é dos nossos. Foi bom avisar: ajudou a sala toda."),
    ),
    (
        ("Meu boleto venceu ontem. E agora?", "Sem problema, emito outro com vencimento na sexta."),
        ("Vai ter multa?", "Dois por cento: dá R$ 3,18. Consigo tirar se for a primeira vez."),
        ("É a primeira vez, juro 🙏", "Vi aqui que é mesmo. Tirei a multa; o boleto novo está no seu e-mail."),
    ),
    (
        ("A impressora do laboratório engoliu a minha folha.", "Ela está com a luz vermelha piscando?"),
        ("Está, e faz um barulho de café moendo ☕", "Desligue, abra a tampa de trás e puxe a folha devagar."),
        ("Saiu em dois pedaços, mas saiu!", "Então foram todos. Pode ligar e mandar imprimir de novo."),
    ),
    (
        ("Quero cancelar o plano família.", "Posso saber o motivo? Às vezes um plano menor resolve."),
        (
            "Meus avós não usam mais, ficou caro.",
            "Então o individual custa menos da metade, e a sua lista continua salva.",
        ),
        ("Prefiro assim. Muda quando?", "No próximo dia 5. Até lá tudo funciona como hoje."),
    ),
    (
        (
            "Recebi um e-mail pedindo os dados do meu cartão. São vocês?",
            "Não somos nós! Você chegou a clicar em algum link?",
        ),
        ("Cliquei, mas não digitei nada.", "Ufa. Apague a mensagem e troque a senha, por garantia."),
        (
            "Troquei. Como vou saber da próxima vez?",
            "Nunca pedimos cartão nem senha por e-mail. Na dúvida, pergunte aqui.",
        ),
    ),
    (
        ("Meu certificado saiu com o nome errado.", "Vamos arrumar. Como está, e como deveria estar?"),
        (
            "Está «Joao Conceicao»; faltam o til e o cê-cedilha.",
            "Ah, um sistema antigo que não entende UTF-8. Corrigi: João Conceição.",
        ),
        ("Agora sim! O link continua o mesmo?", "O mesmo. Quem abrir o antigo já vê o corrigido."),
    ),
    (
        ("O vídeo da aula trava a cada dez segundos 😩", "Você está no cabo ou no wi-fi?"),
        (
            "No wi-fi, com mais quatro pessoas vendo filme.",
            "Baixe a qualidade para 480p, ou baixe o arquivo para ver depois.",
        ),
        ("Em 480p ficou liso.", "Ótimo. De manhã cedo a alta qualidade deve funcionar."),
    ),
    (
        ("Perdi um guarda-chuva azul no auditório.", "Temos três aqui. O seu tem algum detalhe?"),
        ("O cabo é um pato 🦆", "Então é este mesmo! Está na portaria do bloco C, até as 21 h."),
    ),
)

DESPEDIDAS = {
    "Era só isso. Valeu!": "Por nada! Até a próxima.",
    "Resolvido, agradeço muito 😊": "Foi um prazer. Bom restante de dia!",
    "Tudo certo por aqui, até mais!": "Até mais! Precisando, é só chamar.",
    "Ajudou demais 👏": "Que bom! Boa semana para você.",
}

RESPOSTAS = {fala: resposta for roteiro in ROTEIROS for fala, resposta in roteiro} | DESPEDIDAS

PARA_GENTE_DE_FORA = (
    "Entendi. Pode contar um pouco mais?",
    "Anotado. Desde quando isso acontece?",
    "Certo. E já aconteceu antes?",
    "Vou verificar. Algo mais que eu deva saber?",
)

NOMES = """
    Adriano Aírton Ana Antônia Beatriz Bruno Caíque Cecília Célio Cícero Clarice Conceição Dália Davi Débora Édson
    Elisângela Emília Fábio Flávia Gérson Glória Heloísa Hugo Iara Inácio Íris Jandira João Júlia Kauã Lígia Luís
    Luzia Marlúcia Mônica Nádia Nélson Otávio Patrícia Quitéria Raíssa Rômulo Sebastião Taís Ubirajara Vitória Zé
""".split()

SOBRENOMES = """
    Albuquerque Araújo Barros Brandão Cavalcante Conceição Falcão Gonçalves Guimarães Jatobá Leão Lins Magalhães
    Muniz Nóbrega Omena Paixão Queirós Sá Tenório Valença Xavier
""".split()


if __name__ == "__main__":
    sys.exit(main())
