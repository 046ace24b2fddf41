"""O autômato: o que cada um pode ler em cada momento. E quem o confere no fio, linha a linha."""

import collections
import math
import re

from leitor import em_texto
from modelo import (
    ATENDIDO,
    CANCELADA,
    EM_PAUSA,
    FORA_DE_PAUSA,
    JA_ACABOU,
    JA_EM_PAUSA,
    PAUSA_DEPOIS,
    REGISTRADA,
    SAIU_DA_FILA,
    SEM_CONVERSA,
)
from participante import FECHOU

from protocolo import Entrada, Json, Pronto, Texto, Tipo, Volta

UNIDO, ACABOU = r"CONECTADO:.+", r"FIM:Atendimento encerrado\. .+"
VOLTOU = r"AVISO:Você foi transferido para .+\.|AVISO:O atendente .+ desconectou\. Você voltou para o início da fila\."
ENTRANDO = {r"(NOME|SENHA|DEPARTAMENTO):.*": "entrando", r"FIM:.+ (inválido|esgotado).*": "fim", UNIDO: "unido"}

# O que não muda onde se está: respostas e, na conversa, mensagens.
MAL_ESCRITA = r"AVISO:(Nem tudo o que|(Mensagem|Linha) longa demais|(JSON|Campo .+) inválido|Comando desconhecido).*"
SO_ATENDENTES = r"AVISO:Só atendentes .+"
SITUACAO = r"AVISO:Você é o número \d+ de \d+ na fila; atendentes online: \d+(; espera estimada: .+ min)?\."
NA_FILA = rf"FILA:\d+|{SITUACAO}|AVISO:(Você ainda está na fila|Limite de mensagens).+|{SO_ATENDENTES}|{MAL_ESCRITA}"
FALA = rf"\[.+?\]: .*|{MAL_ESCRITA}"
FALA_AO_CLIENTE = rf"{FALA}|{ATENDIDO}|{SO_ATENDENTES}"
FALA_AO_ATENDENTE = rf"{FALA}|AVISO:(Nenhum cliente|Clientes) na fila.+|AVISO:(Departamento inv|O cliente .+ já está).+"
SEM_CLIENTE = rf"AVISO:(Nenhum cliente (na fila|conectado)|Clientes na fila: ).+|{MAL_ESCRITA}"
PARADO = rf"{SEM_CLIENTE}|{JA_ACABOU}"

# Em cada momento, as formas de linha e o momento em que se fica. Entre um fato e outro ninguém para no meio: depois de
# um `CONECTADO:` vem o aviso do registro, e não outra coisa.
AUTOMATO = {
    Tipo.CLIENTE: {
        "entrando": {**ENTRANDO, r"FILA:\d+": "fila"},
        "fila": {NA_FILA: "fila", UNIDO: "unido", SAIU_DA_FILA: "fim"},
        "unido": {REGISTRADA: "conversa"},
        "conversa": {FALA_AO_CLIENTE: "conversa", VOLTOU: "deslocado", ACABOU: "fim"},
        "deslocado": {r"FILA:\d+": "fila", UNIDO: "unido"},
        "fim": {},
    },
    Tipo.ATENDENTE: {
        "entrando": {**ENTRANDO, r"FILA:OK": "fila"},
        "fila": {f"{SEM_CLIENTE}|{SEM_CONVERSA}|{FORA_DE_PAUSA}": "fila", EM_PAUSA: "pausa", UNIDO: "unido"},
        "pausa": {f"{PARADO}|{SEM_CONVERSA}|{JA_EM_PAUSA}": "pausa", r"FILA:OK": "fila", UNIDO: "unido"},
        "unido": {REGISTRADA: "conversa"},
        "conversa": {f"{FALA_AO_ATENDENTE}|{FORA_DE_PAUSA}": "conversa", PAUSA_DEPOIS: "última", ACABOU: "livre"},
        "última": {f"{FALA_AO_ATENDENTE}|{PAUSA_DEPOIS}": "última", CANCELADA: "conversa", ACABOU: "pausando"},
        "livre": {r"FILA:OK": "fila", UNIDO: "unido"},
        "intervalo": {f"{PARADO}|{FORA_DE_PAUSA}": "intervalo", EM_PAUSA: "pausa", r"FILA:OK": "fila", UNIDO: "unido"},
        "pausando": {EM_PAUSA: "pausa"},
        "fim": {},
    },
}

# O que mexe com o terminal de quem lê: os controles, os separadores de linha e os bidirecionais.
CONTROLES = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Fio:
    """Alguém que fala texto ou JSON com o servidor. Do lado de cá tudo é texto, e cada linha lida é conferida.

    `so_avanca` diz que ninguém lhe pode passar à frente na fila.
    """

    def __init__(self, servidor, nome, tipo, em_json=False, so_avanca=False, buffers=None):
        self.nome, self.tipo, self.em_json, self.so_avanca = nome, tipo, em_json, so_avanca
        self.cru = servidor.conecta(nome, buffers)
        self.momento, self.par, self.posicao = "entrando", "", 0
        self.diz_pronto, self.chamadas = False, math.inf  # quantas vezes, depois de uma conversa, pode ser chamado
        self.mensagens = []  # as que leu, como (de, texto)
        self.historia = collections.deque(maxlen=10)

    def entrada(self, onde=""):
        """Os bytes de quem diz tudo de uma vez; `onde` é vazio num servidor sem departamentos."""
        if self.em_json:
            return Json().codificar(Entrada(self.tipo, onde or None, self.nome))
        return Texto().codificar(Entrada(self.tipo, onde or None)) + f"{self.nome}\n".encode()

    def vai_dizer(self, *comandos):
        self.diz_pronto = self.diz_pronto or any(isinstance(comando, Pronto) for comando in comandos)
        self.chamadas += sum(isinstance(comando, Pronto | Volta) for comando in comandos)

    def codificar(self, *comandos):
        self.vai_dizer(*comandos)
        formato = Json() if self.em_json else Texto(self.nome)
        return b"".join(map(formato.codificar, comandos))

    def linha(self):
        """A próxima, em texto, ou `FECHOU`."""
        linha = self.cru.linha()
        if linha is not FECHOU:
            linha = em_texto(linha) if self.em_json else linha
            self.conferir(linha)
        return linha

    def espera(self, *linhas):
        for esperada in linhas:
            chegou = self.linha()
            assert chegou == esperada, f"{self.nome} esperava {esperada!r} e recebeu {chegou!r}"

    def conferir(self, linha):
        self.historia.append(linha)
        passos = AUTOMATO[self.tipo][self.momento].items()
        seguinte = next((momento for forma, momento in passos if re.fullmatch(forma, linha)), None)
        assert seguinte, f"{self.nome}, {self.tipo.value} em {self.momento}, leu {[*self.historia]}"
        assert not CONTROLES.search(linha)
        if self.momento in ("intervalo", "pausa") and seguinte in ("fila", "unido"):
            self.chamadas -= 1
            assert self.chamadas >= 0, f"chamado sem dizer PRONTO: {[*self.historia]}"
        self.momento = "intervalo" if seguinte == "livre" and self.diz_pronto else seguinte
        if linha.startswith("CONECTADO:"):
            self.par, self.posicao = linha.removeprefix("CONECTADO:"), 0
        elif linha.startswith("["):
            de, _, texto = linha[1:].partition("]: ")
            assert de == self.par, f"{self.nome} leu {linha!r} numa conversa com {self.par}"
            self.mensagens.append((de, texto))
        elif linha.startswith("FILA:") and self.tipo is Tipo.CLIENTE:
            antes, self.posicao = self.posicao, int(linha.removeprefix("FILA:"))
            piorou = self.so_avanca and 0 < antes < self.posicao
            assert antes != self.posicao and not piorou, f"posição antiga: {[*self.historia]}"
